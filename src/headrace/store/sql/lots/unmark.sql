DELETE FROM purse WHERE tenant_id = $1
