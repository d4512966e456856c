-- Write numbered events, and what a webhook of the tenant wants of them into its outbox. The end
-- of a batch out of a file is told when its files are there (webhooks/note_file_batch.sql).
WITH told AS (
    INSERT INTO event (batch_id, seq, kind, idx, data, at)
    SELECT batch_id, seq, kind, idx, data::json, $6
    FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::integer[], $5::text[])
        AS told (batch_id, seq, kind, idx, data)
    RETURNING batch_id, seq, idx, data, CASE kind
        WHEN 'batch.moved' THEN 'batch.' || (data ->> 'state')
        WHEN 'item.dead' THEN 'item.failed'
        ELSE kind END AS event
)
INSERT INTO webhook_outbox (webhook_id, batch_id, event, seq, idx, code, counts, at)
SELECT webhook.id, told.batch_id, told.event, told.seq, told.idx,
    CASE WHEN told.idx IS NOT NULL THEN told.data ->> 'code' END,
    CASE WHEN told.idx IS NULL THEN json_build_object('total', batch.item_count,
        'succeeded', progress.succeeded, 'failed', progress.failed, 'refused', progress.refused,
        'cancelled', progress.cancelled, 'dead', progress.dead, 'cached', progress.cached) END,
    $6
FROM told
JOIN batch ON batch.id = told.batch_id
JOIN batch_progress AS progress ON progress.batch_id = told.batch_id
JOIN webhook ON webhook.tenant_id = batch.tenant_id AND webhook.state = 'enabled'
    AND told.event = ANY (webhook.events)
WHERE told.idx IS NOT NULL
    OR NOT EXISTS (SELECT FROM file_batch WHERE file_batch.id = told.batch_id)
