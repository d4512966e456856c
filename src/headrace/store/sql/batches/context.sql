SELECT b.id, b.tenant_id, b.name, b.state, b.recipe, b.cache_mode, b.unknown_policy,
    b.reserve_microcredits, b.created_at, b.source, b.class, t.weight,
    b.deadline_at, b.canary
FROM batch b JOIN tenant t ON t.id = b.tenant_id WHERE b.id = $1
