"""Google's APIs: Gemini with a key, Vertex with an account."""
