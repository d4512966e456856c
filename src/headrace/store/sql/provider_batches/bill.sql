-- What was executed for items that are over counts as their cost, estimated.
UPDATE item SET cost_estimate_microusd = item.cost_estimate_microusd + told.microusd
FROM unnest($1::uuid[], $2::integer[], $3::bigint[]) AS told (batch_id, idx, microusd)
WHERE item.batch_id = told.batch_id AND item.idx = told.idx
