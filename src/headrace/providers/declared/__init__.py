"""APIs described in a table of the settings."""
