SELECT DISTINCT tenant_id
FROM credit_lot
WHERE expires_at <= $1 AND tenant_id > $2
ORDER BY tenant_id
LIMIT $3
