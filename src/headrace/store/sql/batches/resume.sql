UPDATE batch SET state = 'running', pause = NULL WHERE id = $1 AND state = 'paused' RETURNING state
