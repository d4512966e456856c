-- The note that is there, or this one: of several processes one writes it, all read the same.
INSERT INTO schema_note AS known (key, value) VALUES ($1, $2)
ON CONFLICT (key) DO UPDATE SET value = known.value
RETURNING value
