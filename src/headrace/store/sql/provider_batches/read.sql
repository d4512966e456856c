-- Lines by their keys, as the items that take their answers see them.
SELECT line.key, line.state, line.status, line.answer, line.reason, line.rescue_at,
    provider_batch.remote_id
FROM provider_batch_line AS line
LEFT JOIN provider_batch ON provider_batch.id = line.provider_batch_id
WHERE line.key = ANY($1::text[])
