-- The end of a batch out of a file, into the outbox of each webhook that wants it, in the same
-- transaction. A file that could not be used never became a batch with counts.
INSERT INTO webhook_outbox (webhook_id, batch_id, event, seq, counts, at)
SELECT webhook.id, file_batch.id, 'batch.' || file_batch.state, 0,
    json_build_object('total', coalesce(batch.item_count, 0),
        'succeeded', coalesce(progress.succeeded, 0), 'failed', coalesce(progress.failed, 0),
        'refused', coalesce(progress.refused, 0), 'cancelled', coalesce(progress.cancelled, 0),
        'dead', coalesce(progress.dead, 0), 'cached', coalesce(progress.cached, 0)),
    $2
FROM file_batch
LEFT JOIN batch ON batch.id = file_batch.id
LEFT JOIN batch_progress AS progress ON progress.batch_id = file_batch.id
JOIN webhook ON webhook.tenant_id = file_batch.tenant_id AND webhook.state = 'enabled'
    AND 'batch.' || file_batch.state = ANY (webhook.events)
WHERE file_batch.id = $1
