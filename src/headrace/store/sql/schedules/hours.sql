-- Batches that run in some hours only, and have not ended.
SELECT tick.schedule_id, tick.at, tick.batch_id, tick.shut_at, batch.state,
    batch.pause, batch.source -> 'hours' AS hours
FROM schedule_tick AS tick
JOIN batch ON batch.id = tick.batch_id
WHERE tick.has_windows AND batch.state IN ('running', 'paused')
