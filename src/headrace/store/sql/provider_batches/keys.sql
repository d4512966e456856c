SELECT key FROM provider_batch_line WHERE provider_batch_id = $1 ORDER BY key LIMIT $2
