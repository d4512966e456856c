UPDATE webhook
SET secret = $2, secret_master = $3, old_secret = $4, old_secret_master = $5
WHERE id = $1
