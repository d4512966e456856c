UPDATE schedule_tick SET shut_at = $3 WHERE schedule_id = $1 AND at = $2
