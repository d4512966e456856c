-- Hold the claims of these shards until commit; a claim by another worker waits, or came first.
SELECT shard.id, shard.fence, batch.state
FROM shard
JOIN batch ON batch.id = shard.batch_id
WHERE shard.id = ANY($1::bigint[]) AND shard.state = 'open'
ORDER BY shard.id
FOR SHARE OF shard
