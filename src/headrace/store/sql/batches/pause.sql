UPDATE batch SET state = 'paused', pause = $2::json
WHERE id = $1 AND state = ANY($3::text[])
RETURNING state
