SELECT inputs_days, artifacts_days, events_days FROM retention WHERE tenant_id = $1
