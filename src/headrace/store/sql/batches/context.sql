SELECT id, tenant_id, name, state, recipe, cache_mode, unknown_policy, reserve_microcredits,
    created_at, source
FROM batch WHERE id = $1
