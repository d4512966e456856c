SELECT b.id, b.tenant_id, b.name, b.state, b.recipe, b.cache_mode, b.unknown_policy,
    b.reserve_microcredits, b.created_at, b.source, b.class, plan.weight, plan.pixels_max, plan.calls_max,
    b.tariff, b.deadline_at, b.canary, b.item_count, b.on_demand
FROM batch b
JOIN tenant t ON t.id = b.tenant_id
JOIN plan ON plan.name = t.plan
WHERE b.id = $1
