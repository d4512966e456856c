WITH pace AS (DELETE FROM lane_pace WHERE name = $1),
     gone AS (DELETE FROM lane WHERE name = $1 RETURNING name)
SELECT count(*) FROM gone
