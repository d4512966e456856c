-- How the latest shards of these batches went: items, and seconds with their worker.
SELECT told.id, sum(last.items) AS items, max(last.items) AS items_max,
    sum(last.seconds)::double precision AS seconds
FROM unnest($1::uuid[]) AS told (id)
CROSS JOIN LATERAL (
    SELECT coalesce(cardinality(shard.idxs), shard.idx_to - shard.idx_from + 1) AS items,
        extract(epoch FROM shard.done_at - shard.claimed_at) AS seconds
    FROM shard
    WHERE shard.batch_id = told.id AND shard.state = 'done' AND shard.claimed_at IS NOT NULL
    ORDER BY shard.done_at DESC
    LIMIT 4
) AS last
GROUP BY told.id
