SELECT min(next_at) FROM provider_batch WHERE holder_id = $1 AND state <> 'done'
