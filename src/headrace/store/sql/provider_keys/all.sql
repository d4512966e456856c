SELECT tenant_id, provider, id, master_id, body, created_at FROM provider_key ORDER BY id
