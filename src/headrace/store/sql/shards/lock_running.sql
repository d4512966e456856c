-- As lock.sql, and hold the batches' states too: cancel and pause wait for started work or come first.
SELECT shard.id, shard.fence, batch.state, batch.cost_cap_microusd,
    set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true)
FROM shard
JOIN batch ON batch.id = shard.batch_id
WHERE shard.id = ANY($1::bigint[]) AND shard.state = 'open'
ORDER BY shard.id
FOR SHARE OF shard, batch
