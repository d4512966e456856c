SELECT coalesce((SELECT items FROM tenant_day WHERE tenant_id = $1 AND day = $2), 0)
