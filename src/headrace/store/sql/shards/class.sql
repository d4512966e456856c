SELECT batch.class FROM shard JOIN batch ON batch.id = shard.batch_id
WHERE shard.id = $1 AND shard.state = 'open'
