-- How many shards the live workers would hold, how many workers there are, how many shards of
-- either kind are open now (those on demand have no job and no place), and the level of the
-- tenants' counters. is_apart: some worker takes only some classes.
SELECT
    (SELECT coalesce(sum(shards_held), 0) FROM worker WHERE ended_at IS NULL) AS appetite,
    (SELECT count(*) FROM worker WHERE ended_at IS NULL) AS workers,
    (SELECT level FROM cutting) AS level,
    EXISTS (SELECT FROM worker WHERE ended_at IS NULL AND classes IS NOT NULL) AS is_apart,
    count(*) FILTER (WHERE NOT express) AS open,
    count(*) FILTER (WHERE express AND job_id IS NOT NULL) AS express
FROM shard
WHERE state = 'open'
