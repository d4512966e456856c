-- An item of a batch and whose the batch is; without a row number where there is no such row.
SELECT batch.tenant_id, item.idx, item.state, item.stage, item.round, item.attempts, item.crashes,
    item.cached, item.cost_microusd, item.spent_microcredits, item.cost_estimate_microusd,
    item.cost_unknown, item.file, item.inputs, item.outputs, item.made, item.error
FROM batch
LEFT JOIN item ON item.batch_id = batch.id AND item.idx = $2
WHERE batch.id = $1 AND batch.forgotten_at IS NULL
