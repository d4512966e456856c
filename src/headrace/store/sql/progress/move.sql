-- Add the moves of a group to its batches' counts; returns the last event number given out and
-- how many items are still open, so that the last one to end closes the batch.
WITH locked AS (
    SELECT batch_id FROM batch_progress
    WHERE batch_id = ANY($1::uuid[])
    ORDER BY batch_id
    FOR UPDATE
)
UPDATE batch_progress AS progress
SET pending = progress.pending + told.pending,
    running = progress.running + told.running,
    waiting = progress.waiting + told.waiting,
    unknown = progress.unknown + told.unknown,
    succeeded = progress.succeeded + told.succeeded,
    failed = progress.failed + told.failed,
    refused = progress.refused + told.refused,
    cancelled = progress.cancelled + told.cancelled,
    dead = progress.dead + told.dead,
    cached = progress.cached + told.cached,
    attempts = progress.attempts + told.attempts,
    repeats = progress.repeats + told.repeats,
    cost_microusd = progress.cost_microusd + told.cost_microusd,
    cost_unknown = progress.cost_unknown + told.cost_unknown,
    spent_microcredits = progress.spent_microcredits + told.spent_microcredits,
    in_flight_microusd = progress.in_flight_microusd + told.in_flight_microusd,
    untold_microusd = progress.untold_microusd + told.untold_microusd,
    cost_estimate_microusd = progress.cost_estimate_microusd + told.cost_estimate_microusd,
    event_seq = progress.event_seq + told.events
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::integer[], $5::integer[],
    $6::integer[], $7::integer[], $8::integer[], $9::integer[], $10::integer[], $11::integer[],
    $12::integer[], $13::integer[], $14::bigint[], $15::integer[], $16::bigint[], $17::bigint[],
    $18::bigint[], $19::bigint[], $20::integer[])
    AS told (batch_id, pending, running, waiting, unknown, succeeded, failed, refused, cancelled,
        dead, cached, attempts, repeats, cost_microusd, cost_unknown, spent_microcredits,
        in_flight_microusd, untold_microusd, cost_estimate_microusd, events)
JOIN locked ON locked.batch_id = told.batch_id
WHERE progress.batch_id = told.batch_id
RETURNING progress.batch_id, progress.event_seq,
    progress.pending + progress.running + progress.waiting + progress.unknown AS open
