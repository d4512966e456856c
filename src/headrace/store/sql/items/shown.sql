-- An item of a batch with whose the batch is, and a row for each of its attempts in order; what may
-- be long stands in the first alone.
SELECT batch.tenant_id, item.idx, item.state, item.stage, item.round, item.attempts, item.crashes,
    item.cached, item.cost_microusd, item.spent_microcredits, item.cost_estimate_microusd,
    item.cost_unknown, item.file,
    CASE WHEN row_number() OVER in_order = 1 THEN item.inputs END AS inputs,
    CASE WHEN row_number() OVER in_order = 1 THEN item.outputs END AS outputs,
    CASE WHEN row_number() OVER in_order = 1 THEN item.made END AS made,
    CASE WHEN row_number() OVER in_order = 1 THEN item.error END AS error,
    attempt.number AS attempt_number, attempt.stage AS attempt_stage, attempt.round AS attempt_round,
    attempt.state AS attempt_state, attempt.outcome AS attempt_outcome,
    attempt.provider AS attempt_provider, attempt.lane AS attempt_lane,
    attempt.cost_microusd AS attempt_cost_microusd, attempt.latency_ms AS attempt_latency_ms,
    attempt.error AS attempt_error, attempt.started_at AS attempt_started_at,
    attempt.ended_at AS attempt_ended_at
FROM batch
LEFT JOIN item ON item.batch_id = batch.id AND item.idx = $2
LEFT JOIN attempt ON attempt.batch_id = item.batch_id AND attempt.idx = item.idx
WHERE batch.id = $1 AND batch.forgotten_at IS NULL
WINDOW in_order AS (ORDER BY attempt.number)
ORDER BY attempt.number
