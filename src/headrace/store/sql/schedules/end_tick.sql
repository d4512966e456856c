UPDATE schedule_tick
SET state = $3, batch_id = $4, told = $5, has_windows = $6, shut_at = $7, ended_at = $8
WHERE schedule_id = $1 AND at = $2 AND state = 'due'
