-- The first due tick of each schedule: those of one schedule are made one after another.
SELECT first.schedule_id, first.at
FROM (
    SELECT DISTINCT ON (schedule_id) schedule_id, at
    FROM schedule_tick
    WHERE state = 'due'
    ORDER BY schedule_id, at
) AS first
ORDER BY first.at
LIMIT $1
