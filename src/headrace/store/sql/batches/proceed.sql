-- The canary went well: the whole batch runs.
UPDATE batch SET state = 'running' WHERE id = $1 AND state = 'canary' RETURNING state
