DELETE FROM schedule WHERE tenant_id = $1
