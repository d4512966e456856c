-- What a provider batch that has ended never told of, or ($2) was never executed.
UPDATE provider_batch_line SET state = $2, reason = $3, body = NULL
WHERE provider_batch_id = $1 AND state = 'sent'
RETURNING key
