SELECT id, tenant_id, kind FROM account WHERE tenant_id = ANY($1::text[]) OR tenant_id IS NULL
