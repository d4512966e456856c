-- Note that a call did not fit under a batch's cap; the guard pauses the batch for it.
UPDATE batch_progress AS progress
SET short_microusd = told.short_microusd
FROM unnest($1::uuid[], $2::bigint[]) AS told (batch_id, short_microusd)
WHERE progress.batch_id = told.batch_id
