"""The HTTP API: what the engine offers, for whoever has a key."""
