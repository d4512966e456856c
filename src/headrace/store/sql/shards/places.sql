-- What decides in which place of the queue shards stand. is_apart: some worker takes only some classes.
SELECT shard.id, shard.express, batch.class AS class_name,
    EXISTS (
        SELECT FROM worker WHERE worker.ended_at IS NULL AND worker.classes IS NOT NULL
    ) AS is_apart
FROM shard
JOIN batch ON batch.id = shard.batch_id
WHERE shard.id = ANY($1::bigint[])
