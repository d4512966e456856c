UPDATE schedule_tick AS tick SET has_windows = false
FROM batch
WHERE batch.id = tick.batch_id AND tick.has_windows AND batch.finished_at IS NOT NULL
