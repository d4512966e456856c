-- The lock comes first, the clock is read when it is held.
SELECT held.version, held.state, extract(epoch FROM clock_timestamp())::float8 AS now_s
FROM (SELECT version, state FROM lane_pace WHERE name = $1 AND shape = $2 FOR UPDATE) AS held
