UPDATE file_batch
SET state = $2, output_file_id = $3, error_file_id = $4, ended_at = $5
WHERE id = $1 AND state = $6
RETURNING id
