SELECT progress.batch_id AS batch, progress.pending, progress.running, progress.waiting,
    progress.unknown, progress.succeeded, progress.failed, progress.refused,
    progress.cancelled, progress.dead, progress.cached
FROM batch_progress AS progress
JOIN (
    SELECT batch_id,
        count(*) FILTER (WHERE state = 'pending') AS pending,
        count(*) FILTER (WHERE state = 'running') AS running,
        count(*) FILTER (WHERE state = 'waiting') AS waiting,
        count(*) FILTER (WHERE state = 'unknown') AS unknown,
        count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
        count(*) FILTER (WHERE state = 'failed') AS failed,
        count(*) FILTER (WHERE state = 'refused') AS refused,
        count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
        count(*) FILTER (WHERE state = 'dead') AS dead,
        count(*) FILTER (WHERE cached) AS cached
    FROM item
    GROUP BY batch_id
) AS counted ON counted.batch_id = progress.batch_id
WHERE (progress.pending, progress.running, progress.waiting, progress.unknown,
        progress.succeeded, progress.failed, progress.refused, progress.cancelled,
        progress.dead, progress.cached)
    <> (counted.pending, counted.running, counted.waiting, counted.unknown, counted.succeeded,
        counted.failed, counted.refused, counted.cancelled, counted.dead, counted.cached)
