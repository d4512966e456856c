UPDATE file_batch SET state = 'cancelling', cancelling_at = $2
WHERE id = $1 AND state = 'in_progress'
