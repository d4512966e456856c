-- A tenant's, the latest first, those before $2 in that order.
SELECT file_batch.id, file_batch.tenant_id, file_batch.input_file_id, file_batch.endpoint,
    file_batch.metadata, file_batch.outputs_end_after_s, file_batch.state, file_batch.errors,
    file_batch.output_file_id, file_batch.error_file_id, file_batch.created_at,
    file_batch.expires_at, file_batch.in_progress_at, file_batch.cancelling_at,
    file_batch.expiring_at, file_batch.ended_at,
    batch.state AS batch_state, batch.finished_at, coalesce(batch.item_count, 0) AS total,
    coalesce(progress.succeeded, 0) AS succeeded,
    coalesce(progress.failed + progress.refused + progress.dead, 0) AS failed,
    coalesce(progress.event_seq, 0) AS event_seq
FROM file_batch
LEFT JOIN batch ON batch.id = file_batch.id
LEFT JOIN batch_progress AS progress ON progress.batch_id = batch.id
WHERE file_batch.tenant_id = $1 AND ($2::uuid IS NULL OR file_batch.id < $2)
ORDER BY file_batch.id DESC
LIMIT $3
