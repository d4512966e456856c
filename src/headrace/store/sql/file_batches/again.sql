-- What the same key asked for a moment ago, word for word.
SELECT id FROM file_batch
WHERE key_id = $1 AND request_digest = $2 AND created_at > $3
ORDER BY created_at DESC
LIMIT 1
