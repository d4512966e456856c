INSERT INTO provider_key (tenant_id, provider, id, master_id, body, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (tenant_id, provider) DO UPDATE SET id = excluded.id, master_id = excluded.master_id,
    body = excluded.body, created_at = excluded.created_at
