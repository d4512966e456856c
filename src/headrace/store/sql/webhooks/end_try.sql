-- How a try ended; one whose lease was over, and that somebody else has made again, changes nothing.
UPDATE webhook_delivery
SET state = $3, due_at = coalesce($4, due_at), leased_until = NULL,
    ended_at = CASE WHEN $3 = 'pending' THEN NULL ELSE $5::timestamptz END
WHERE id = $1 AND tries = $2 AND state = 'pending'
RETURNING webhook_id
