DELETE FROM cache_entry WHERE tenant_id = $1 AND claim_shard_id IS NULL RETURNING sha256
