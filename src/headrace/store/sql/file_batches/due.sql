-- What there is to do: files to look through, batches over their window, results to write.
SELECT file_batch.id, file_batch.state,
    batch.state IN ('completed', 'cancelled', 'expired', 'failed') AS is_over
FROM file_batch
LEFT JOIN batch ON batch.id = file_batch.id
WHERE file_batch.state IN ('validating', 'in_progress', 'cancelling', 'expiring')
    AND (file_batch.state = 'validating'
        OR batch.state IN ('completed', 'cancelled', 'expired', 'failed')
        OR (file_batch.state = 'in_progress' AND file_batch.expires_at <= $1))
ORDER BY file_batch.state <> 'validating', file_batch.created_at
LIMIT 50
