-- What still waits when a batch is cancelled has a job at its provider: it is looked after now.
UPDATE item SET due_at = $2 WHERE batch_id = $1 AND state = 'waiting' AND due_at > $2
