DELETE FROM webhook WHERE tenant_id = $1 AND id = $2 RETURNING id
