SELECT id, name, state, class, recipe_name, recipe_version, recipe, columns, cache_mode,
    unknown_policy, idempotency_key, item_count, reserve_microcredits, source, created_at, finished_at
FROM batch
WHERE tenant_id = $1 AND forgotten_at IS NULL AND id > $2
ORDER BY id
LIMIT $3
