INSERT INTO shard (batch_id, idx_from, idx_to, express, cut_at)
SELECT told.batch_id, told.idx_from, told.idx_to, told.express, $5
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::boolean[])
    AS told (batch_id, idx_from, idx_to, express)
RETURNING id
