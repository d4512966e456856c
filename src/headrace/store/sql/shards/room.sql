-- How many shards the live workers would hold, how many workers there are, and how many shards
-- are open now.
SELECT
    (SELECT coalesce(sum(shards_held), 0) FROM worker WHERE ended_at IS NULL) AS appetite,
    (SELECT count(*) FROM worker WHERE ended_at IS NULL) AS workers,
    (SELECT count(*) FROM shard WHERE state = 'open') AS open
