-- $5: which of the three are told; what is not told stays, or is that of $2 to $4 where nothing was.
INSERT INTO retention AS own (tenant_id, inputs_days, artifacts_days, events_days)
VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id) DO UPDATE SET
    inputs_days = CASE WHEN 'inputs_days' = ANY($5::text[])
        THEN excluded.inputs_days ELSE own.inputs_days END,
    artifacts_days = CASE WHEN 'artifacts_days' = ANY($5::text[])
        THEN excluded.artifacts_days ELSE own.artifacts_days END,
    events_days = CASE WHEN 'events_days' = ANY($5::text[])
        THEN excluded.events_days ELSE own.events_days END
RETURNING inputs_days, artifacts_days, events_days
