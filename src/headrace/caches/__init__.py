"""Implementations of the cache contract."""
