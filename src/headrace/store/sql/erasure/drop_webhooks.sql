DELETE FROM webhook WHERE tenant_id = $1
