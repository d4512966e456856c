SELECT value FROM schema_note WHERE key = $1
