-- For each class: how many shards the workers that take it would hold, how many such workers there
-- are, and how many of its shards of either kind are open. whole: shards that workers of any class
-- but the interactive one would hold, for its shards are express ones.
SELECT told.class_name, able.appetite, able.workers, able.whole,
    count(shard.id) FILTER (WHERE NOT shard.express) AS open,
    count(shard.id) FILTER (WHERE shard.express AND shard.job_id IS NOT NULL) AS express
FROM unnest($1::text[]) WITH ORDINALITY AS told (class_name, place)
CROSS JOIN LATERAL (
    SELECT coalesce(sum(shards_held) FILTER (WHERE takes), 0) AS appetite,
        count(*) FILTER (WHERE takes) AS workers,
        coalesce(sum(shards_held) FILTER (WHERE takes_whole), 0) AS whole
    FROM (
        SELECT shards_held, classes IS NULL OR told.class_name = ANY(classes) AS takes,
            classes IS NULL OR classes && ARRAY['batch', 'bulk'] AS takes_whole
        FROM worker WHERE ended_at IS NULL
    ) AS live
) AS able
LEFT JOIN (shard JOIN batch ON batch.id = shard.batch_id AND shard.state = 'open')
    ON batch.class = told.class_name
GROUP BY told.class_name, told.place, able.appetite, able.workers, able.whole
ORDER BY told.place
