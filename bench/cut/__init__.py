"""Two hosts that lose their database's network for a while; run ``python -m bench.cut``."""
