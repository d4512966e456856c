-- The keys that a tenant buys with: its own, and everybody's for providers where it has none.
SELECT DISTINCT ON (provider) tenant_id, provider, id, master_id, body, created_at
FROM provider_key
WHERE tenant_id = $1 OR tenant_id IS NULL
ORDER BY provider, tenant_id NULLS LAST
