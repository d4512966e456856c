-- Hold the claims of these shards until commit; a claim by another worker waits, or came first.
-- What is written behind this finds its rows by key: a plan that was made while a table was small, and
-- is kept by the session, would read the whole table for each group of a batch that grows it.
SELECT shard.id, shard.fence, batch.state, set_config('enable_seqscan', 'off', true),
    set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)
FROM shard
JOIN batch ON batch.id = shard.batch_id
WHERE shard.id = ANY($1::bigint[]) AND shard.state = 'open'
ORDER BY shard.id
FOR SHARE OF shard
