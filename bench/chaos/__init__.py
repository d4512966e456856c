"""Everything fails at once, and the books are right at the end; run ``python -m bench.chaos``."""
