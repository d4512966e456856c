"""Gates: implementations of the permit contract."""
