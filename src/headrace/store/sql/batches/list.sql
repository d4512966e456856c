SELECT batch.id, batch.tenant_id, batch.name, batch.state, batch.class, batch.recipe_name,
    batch.recipe_version,
    batch.item_count, batch.cache_mode, batch.unknown_policy, batch.columns, batch.source,
    batch.reserve_microcredits, batch.created_at, batch.finished_at,
    progress.pending, progress.running, progress.waiting, progress.unknown, progress.succeeded,
    progress.failed, progress.refused, progress.cancelled, progress.dead, progress.cached,
    progress.attempts, progress.repeats, progress.cost_microusd, progress.cost_unknown,
    progress.spent_microcredits, progress.event_seq, batch.canary, batch.look_first,
    batch.cost_cap_microusd, batch.pause, progress.in_flight_microusd, progress.untold_microusd,
    progress.cost_estimate_microusd
FROM batch
JOIN batch_progress AS progress ON progress.batch_id = batch.id
WHERE batch.tenant_id = $1 AND batch.forgotten_at IS NULL
ORDER BY batch.created_at DESC
LIMIT $2
