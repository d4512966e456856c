"""OpenAI's API, and the servers that speak it."""
