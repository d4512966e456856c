-- $4: wake the others, which listen to the channel, by the name of the lane.
UPDATE lane_pace SET version = version + 1, state = $3 WHERE name = $1 AND shape = $2
RETURNING version, CASE WHEN $4::boolean THEN pg_notify('headrace_lane', $1) END
