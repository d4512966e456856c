-- Where the batch stands, kept from moving until the transaction ends.
SELECT batch.state, progress.event_seq
FROM batch
JOIN batch_progress AS progress ON progress.batch_id = batch.id
WHERE batch.id = $1
FOR SHARE OF batch
