INSERT INTO shard (batch_id, idx_from, idx_to, idxs, express, cut_at)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING id
