-- The batches that a guard looks after: those in their canary, those under a cap, and those that
-- were cancelled and have items left that are not under way.
WITH looked_after AS (
    SELECT id FROM batch WHERE state = 'canary'
    UNION ALL
    SELECT id FROM batch WHERE state = 'running' AND cost_cap_microusd IS NOT NULL
    UNION ALL
    SELECT id FROM batch WHERE state = 'finalizing'
)
SELECT batch.id, batch.state, batch.look_first, batch.cost_cap_microusd, progress.cost_microusd,
    progress.cost_estimate_microusd, progress.untold_microusd, progress.short_microusd,
    progress.pending + progress.waiting + progress.unknown AS at_rest
FROM looked_after
JOIN batch ON batch.id = looked_after.id
JOIN batch_progress AS progress ON progress.batch_id = batch.id
