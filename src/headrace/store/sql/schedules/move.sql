UPDATE schedule SET state = $3, next_at = coalesce($4, next_at)
WHERE tenant_id = $1 AND id = $2
RETURNING id
