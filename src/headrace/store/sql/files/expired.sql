SELECT tenant_id, id FROM file WHERE expires_at <= $1 ORDER BY expires_at LIMIT 100
