UPDATE webhook
SET old_secret = secret, old_secret_master = secret_master, old_secret_until = $5,
    secret = $3, secret_master = $4
WHERE tenant_id = $1 AND id = $2
RETURNING id
