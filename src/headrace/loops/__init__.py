"""Background duties, one agent noun each; all start and stop the same way."""
