SELECT EXISTS (SELECT FROM schedule WHERE tenant_id = $1 AND name = $2)
