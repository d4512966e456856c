SELECT coalesce(sum(items), 0)::bigint AS items, coalesce(sum(microcredits), 0)::bigint AS microcredits
FROM tenant_day
WHERE tenant_id = $1 AND day = $2
