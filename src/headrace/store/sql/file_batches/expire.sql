UPDATE file_batch SET state = 'expiring', expiring_at = $2
WHERE id = $1 AND state = 'in_progress' AND expires_at <= $2
RETURNING id
