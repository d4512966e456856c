SELECT batch_id, idx, state, stage, round, attempts, cached, cost_microusd, cost_estimate_microusd,
    spent_microcredits, file, inputs, outputs, made, error, changed_at
FROM item
WHERE batch_id = $1 AND idx > $2
ORDER BY idx
LIMIT $3
