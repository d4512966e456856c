UPDATE webhook SET old_secret = secret, old_secret_until = $4, secret = $3
WHERE tenant_id = $1 AND id = $2
RETURNING id
