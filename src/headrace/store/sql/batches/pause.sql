UPDATE batch SET state = 'paused' WHERE id = $1 AND state IN ('canary', 'running') RETURNING state
