SELECT secret, secret_master, old_secret, old_secret_master, old_secret_until
FROM webhook
WHERE tenant_id = $1 AND id = $2
