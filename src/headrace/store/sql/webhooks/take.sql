-- Take what one message tells out of the outbox.
DELETE FROM webhook_outbox AS taken
USING (
    SELECT seq FROM webhook_outbox
    WHERE webhook_id = $1 AND batch_id = $2 AND event = $3
    ORDER BY seq
    LIMIT $4
) AS chosen
WHERE taken.webhook_id = $1 AND taken.batch_id = $2 AND taken.event = $3 AND taken.seq = chosen.seq
RETURNING taken.seq, taken.idx, taken.code, taken.counts, taken.at,
    EXISTS (SELECT FROM file_batch WHERE file_batch.id = taken.batch_id) AS is_of_file
