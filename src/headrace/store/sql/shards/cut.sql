INSERT INTO shard (batch_id, idx_from, idx_to, idxs, cut_at)
VALUES ($1, $2, $3, $4, $5)
RETURNING id
