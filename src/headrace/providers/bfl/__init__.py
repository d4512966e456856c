"""Black Forest Labs' API."""
