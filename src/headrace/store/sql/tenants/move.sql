UPDATE tenant SET state = $2, state_reason = $3 WHERE id = $1
