"""Providers: adapters to one API or local engine each."""
