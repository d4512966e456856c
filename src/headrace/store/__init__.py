"""Durable state: PostgreSQL, what is written in it, and how it is reached."""
