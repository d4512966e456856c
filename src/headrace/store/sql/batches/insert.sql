INSERT INTO batch (id, tenant_id, name, state, class, recipe_name, recipe_version, recipe, columns,
    cache_mode, unknown_policy, idempotency_key, request_digest, reserve_microcredits, source,
    created_at, look_first, cost_cap_microusd, on_demand, tariff, deadline_at)
VALUES ($1, $2, $3, 'running', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19,
    $20)
ON CONFLICT (tenant_id, idempotency_key) DO NOTHING
RETURNING id
