SELECT EXISTS (SELECT FROM schedule_tick WHERE schedule_id = $1 AND state = 'due')
