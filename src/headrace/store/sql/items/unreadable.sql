-- Rows that could not be read: they ended at submit, without an event of their own.
SELECT idx, state, stage, round, attempts, crashes, cached, cost_microusd, spent_microcredits,
    cost_estimate_microusd, cost_unknown, file, inputs, outputs, made, error
FROM item
WHERE batch_id = $1 AND state = 'failed' AND error ->> 'code' = 'invalid_input'
ORDER BY idx
