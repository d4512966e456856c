-- A new webhook, unless the tenant has $7 of them.
INSERT INTO webhook (id, tenant_id, url, events, secret, created_at)
SELECT $1, $2, $3, $4, $5, $6
WHERE (SELECT count(*) FROM webhook WHERE tenant_id = $2) < $7
RETURNING id
