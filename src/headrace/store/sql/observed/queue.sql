-- The batches that are not over, with the counts of their items; the age of those that could go on.
SELECT batch.class, batch.state, count(*) AS batches,
    sum(counts.pending)::bigint AS pending, sum(counts.running)::bigint AS running,
    sum(counts.waiting)::bigint AS waiting, sum(counts.unknown)::bigint AS unknown,
    min(batch.created_at) FILTER (
        WHERE batch.state IN ('canary', 'running') AND counts.pending + counts.waiting > 0
    ) AS oldest
FROM batch
JOIN batch_progress AS counts ON counts.batch_id = batch.id
WHERE batch.state IN ('validating', 'canary', 'running', 'paused', 'finalizing')
GROUP BY batch.class, batch.state
