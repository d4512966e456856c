"""Inputs of rows: CSV, JSONL and OpenAI batch files, streamed; `open_source` is the door."""

from headrace.sources.opening import open_source

__all__ = ["open_source"]
