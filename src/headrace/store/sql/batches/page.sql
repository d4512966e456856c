-- A page of a tenant's batches, the latest first, behind ($2, $3); null is from the beginning.
-- $4 states, $5 a part of the name, $6 a recipe: null is any.
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
    AND ($2::timestamptz IS NULL OR (batch.created_at, batch.id) < ($2::timestamptz, $3::uuid))
    AND ($4::text[] IS NULL OR batch.state = ANY($4::text[]))
    AND ($5::text IS NULL OR position(lower($5::text) IN lower(batch.name)) > 0)
    AND ($6::text IS NULL OR batch.recipe_name = $6::text)
ORDER BY batch.created_at DESC, batch.id DESC
LIMIT $7
