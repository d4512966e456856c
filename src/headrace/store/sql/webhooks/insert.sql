-- A new webhook, unless the tenant has $8 of them.
INSERT INTO webhook (id, tenant_id, url, events, secret, secret_master, created_at)
SELECT $1, $2, $3, $4, $5, $6, $7
WHERE (SELECT count(*) FROM webhook WHERE tenant_id = $2) < $8
RETURNING id
