DELETE FROM file WHERE tenant_id = $1 AND id = $2 RETURNING sha256
