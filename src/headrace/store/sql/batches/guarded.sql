-- The batches that a guard looks after: those in their canary, and those under a cap.
SELECT batch.id, batch.state, batch.look_first, batch.cost_cap_microusd, progress.cost_microusd,
    progress.untold_microusd, progress.short_microusd
FROM batch
JOIN batch_progress AS progress ON progress.batch_id = batch.id
WHERE batch.state = 'canary' OR (batch.state = 'running' AND batch.cost_cap_microusd IS NOT NULL)
