-- Count a try of a tick that is still due; nothing where it is not.
UPDATE schedule_tick SET tries = tries + 1
WHERE schedule_id = $1 AND at = $2 AND state = 'due'
RETURNING tries
