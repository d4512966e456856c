-- The files of a batch that is forgotten; one that another batch still names stays.
DELETE FROM file
WHERE id = ANY($1::uuid[]) AND tenant_id = $2
    AND NOT EXISTS (
        SELECT FROM file_batch
        WHERE file.id IN (file_batch.input_file_id, file_batch.output_file_id, file_batch.error_file_id)
    )
RETURNING sha256
