-- Items in row order, a page at a time, for results and reports.
SELECT idx, state, stage, round, attempts, crashes, cached, cost_microusd, spent_microcredits,
    cost_estimate_microusd, cost_unknown, file, inputs, outputs, made, error
FROM item
WHERE batch_id = $1 AND idx > $2
ORDER BY idx
LIMIT $3
