-- Nothing of a provider batch was executed, and it may be handed in again: its lines are free again.
UPDATE provider_batch_line SET provider_batch_id = NULL, state = 'waiting', created_at = $2
WHERE provider_batch_id = $1 AND state = 'sent' AND body IS NOT NULL
RETURNING key
