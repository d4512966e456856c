SELECT id, input_file_id, endpoint, metadata, state, errors, output_file_id, error_file_id, created_at,
    expires_at, ended_at
FROM file_batch
WHERE tenant_id = $1 AND id > $2
ORDER BY id
LIMIT $3
