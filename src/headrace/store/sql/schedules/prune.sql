DELETE FROM schedule_tick
WHERE state <> 'due' AND ended_at < $1 AND NOT has_windows
