UPDATE batch SET cut_idx = told.cut_idx
FROM unnest($1::uuid[], $2::integer[]) AS told (id, cut_idx)
WHERE batch.id = told.id
