"""Engines on this machine: templates, pictures, texts, films."""
