SELECT idx, state, stage, round, attempts, crashes, cached, cost_microusd, spent_microcredits,
    cost_estimate_microusd, cost_unknown, file, inputs, outputs, made, error
FROM item
WHERE batch_id = $1 AND idx = ANY($2::integer[])
ORDER BY idx
