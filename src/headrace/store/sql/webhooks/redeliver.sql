-- Send a message once more, under the same id, with all its tries before it.
UPDATE webhook_delivery
SET state = 'pending', due_at = $2, ended_at = NULL, tries_before = tries
WHERE id = $1 AND (leased_until IS NULL OR leased_until <= $2)
RETURNING id
