SELECT tenant_id, provider, id, master_id, created_at
FROM provider_key
WHERE tenant_id = $1 OR $2
ORDER BY tenant_id NULLS FIRST, provider
