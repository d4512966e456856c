-- The lines of a provider batch that are not answered, in order, so many behind a key.
SELECT key, body FROM provider_batch_line
WHERE provider_batch_id = $1 AND key > $2 AND state = 'sent' AND body IS NOT NULL
ORDER BY key
LIMIT $3
