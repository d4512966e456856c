-- Endpoints with their secrets; where $1, those of which one is kept plain.
SELECT id, tenant_id, secret, secret_master, old_secret, old_secret_master
FROM webhook
WHERE NOT $1 OR secret_master IS NULL OR (old_secret IS NOT NULL AND old_secret_master IS NULL)
ORDER BY id
FOR UPDATE
