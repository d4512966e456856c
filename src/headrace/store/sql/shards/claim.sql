-- Claim a shard: the fence grows, so that nothing of an earlier holder can be written any more.
UPDATE shard
SET fence = shard.fence + 1, worker_id = $2, claimed_at = $3
WHERE shard.id = $1 AND shard.state = 'open'
RETURNING shard.batch_id, shard.idx_from, shard.idx_to, shard.idxs, shard.fence, shard.express
