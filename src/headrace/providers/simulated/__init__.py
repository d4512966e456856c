"""The provider for tests and rehearsals: no network, a memory of every call."""
