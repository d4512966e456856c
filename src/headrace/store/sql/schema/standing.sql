-- Who may run on this database.
SELECT key, value FROM schema_note WHERE key = ANY($1::text[])
