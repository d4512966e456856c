UPDATE file_batch SET state = 'cancelled', cancelling_at = $2, ended_at = $2
WHERE id = $1 AND state = 'validating'
