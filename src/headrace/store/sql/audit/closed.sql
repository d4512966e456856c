SELECT batch.id AS batch, batch.state,
    progress.pending + progress.running + progress.waiting + progress.unknown AS open
FROM batch
JOIN batch_progress AS progress ON progress.batch_id = batch.id
WHERE (batch.state IN ('completed', 'cancelled', 'expired', 'failed'))
    <> (progress.pending + progress.running + progress.waiting + progress.unknown = 0)
