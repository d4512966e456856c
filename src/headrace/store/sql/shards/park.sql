-- Park a shard of a paused batch, unless the batch was resumed a moment ago.
WITH held AS (
    SELECT batch.id FROM batch JOIN shard ON shard.batch_id = batch.id
    WHERE shard.id = $1 AND batch.state = 'paused'
    FOR SHARE OF batch
)
UPDATE shard SET state = 'parked'
FROM held
WHERE shard.id = $1 AND shard.fence = $2 AND shard.state = 'open'
RETURNING shard.id
