SELECT tenant_id, state IN ('completed', 'cancelled', 'expired', 'failed') AS is_over,
    input_file_id, output_file_id, error_file_id
FROM file_batch
WHERE id = $1
FOR UPDATE
