UPDATE batch SET state = 'running' WHERE id = $1 AND state = 'paused' RETURNING state
