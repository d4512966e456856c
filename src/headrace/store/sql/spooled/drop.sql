-- What is settled waits no longer.
DELETE FROM spooled_result
USING unnest($1::uuid[], $2::integer[]) AS told (batch_id, idx)
WHERE spooled_result.batch_id = told.batch_id AND spooled_result.idx = told.idx
