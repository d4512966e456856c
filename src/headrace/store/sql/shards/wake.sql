-- Due items become pending again in their new shard.
UPDATE item
SET state = 'pending', due_at = NULL, shard_id = $3, version = version + 1
WHERE batch_id = $1 AND idx = ANY($2::integer[]) AND state = 'waiting'
RETURNING idx
