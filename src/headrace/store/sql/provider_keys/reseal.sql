UPDATE provider_key SET master_id = $2, body = $3 WHERE id = $1
