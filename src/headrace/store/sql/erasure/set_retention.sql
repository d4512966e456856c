INSERT INTO retention (tenant_id, inputs_days, artifacts_days, events_days)
VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id) DO UPDATE SET inputs_days = excluded.inputs_days,
    artifacts_days = excluded.artifacts_days, events_days = excluded.events_days
