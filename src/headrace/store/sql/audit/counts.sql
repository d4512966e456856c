-- The counts of a batch are those of its items.
WITH counted AS (
    SELECT batch_id, count(*) AS items,
        count(*) FILTER (WHERE state = 'pending') AS pending,
        count(*) FILTER (WHERE state = 'running') AS running,
        count(*) FILTER (WHERE state = 'waiting') AS waiting,
        count(*) FILTER (WHERE state = 'unknown') AS unknown,
        count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
        count(*) FILTER (WHERE state = 'failed') AS failed,
        count(*) FILTER (WHERE state = 'refused') AS refused,
        count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
        count(*) FILTER (WHERE state = 'dead') AS dead,
        count(*) FILTER (WHERE cached) AS cached,
        sum(attempts) AS attempts,
        sum(cost_microusd) AS cost_microusd,
        sum(cost_estimate_microusd) AS cost_estimate_microusd
    FROM item
    GROUP BY batch_id
)
SELECT batch.id AS batch, one.name AS count, one.expected AS items, one.found AS counted
FROM batch
JOIN batch_progress AS progress ON progress.batch_id = batch.id
LEFT JOIN counted ON counted.batch_id = batch.id
CROSS JOIN LATERAL (VALUES
    ('item_count', coalesce(counted.items, 0), batch.item_count::bigint),
    ('pending', coalesce(counted.pending, 0), progress.pending::bigint),
    ('running', coalesce(counted.running, 0), progress.running::bigint),
    ('waiting', coalesce(counted.waiting, 0), progress.waiting::bigint),
    ('unknown', coalesce(counted.unknown, 0), progress.unknown::bigint),
    ('succeeded', coalesce(counted.succeeded, 0), progress.succeeded::bigint),
    ('failed', coalesce(counted.failed, 0), progress.failed::bigint),
    ('refused', coalesce(counted.refused, 0), progress.refused::bigint),
    ('cancelled', coalesce(counted.cancelled, 0), progress.cancelled::bigint),
    ('dead', coalesce(counted.dead, 0), progress.dead::bigint),
    ('cached', coalesce(counted.cached, 0), progress.cached::bigint),
    ('attempts', coalesce(counted.attempts, 0), progress.attempts::bigint),
    ('cost_microusd', coalesce(counted.cost_microusd, 0), progress.cost_microusd),
    ('cost_estimate_microusd', coalesce(counted.cost_estimate_microusd, 0),
        progress.cost_estimate_microusd)
) AS one (name, expected, found)
WHERE one.expected <> one.found
ORDER BY batch.id, one.name
LIMIT 1000
