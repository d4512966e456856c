UPDATE file_batch SET state = 'failed', errors = $2, ended_at = $3
WHERE id = $1 AND state = 'validating'
