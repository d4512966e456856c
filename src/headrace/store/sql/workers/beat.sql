-- A sign of life; $3: it takes no more.
UPDATE worker SET heartbeat_at = $2, draining_at = CASE WHEN $3 THEN coalesce(draining_at, $2) END
WHERE id = $1 AND ended_at IS NULL
