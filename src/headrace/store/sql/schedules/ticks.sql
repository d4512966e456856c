-- Ticks, the latest first, with what their batches have become.
SELECT tick.at, tick.by_hand, tick.state, tick.tries, tick.batch_id, tick.told, tick.ended_at,
    batch.state AS batch_state, progress.succeeded, progress.failed, progress.refused,
    progress.dead, progress.cancelled, progress.cached, progress.cost_microusd
FROM schedule_tick AS tick
LEFT JOIN batch ON batch.id = tick.batch_id AND batch.forgotten_at IS NULL
LEFT JOIN batch_progress AS progress ON progress.batch_id = batch.id
WHERE tick.schedule_id = $1 AND ($2::timestamptz IS NULL OR tick.at < $2)
ORDER BY tick.at DESC
LIMIT $3
