UPDATE file_batch SET state = 'in_progress', in_progress_at = $2
WHERE id = $1 AND state = 'validating'
RETURNING id
