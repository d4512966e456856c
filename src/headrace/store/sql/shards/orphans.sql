-- Open shards whose worker is gone, or whose job is no longer in the queue (PgQueuer's table).
-- A shard without a job is walked by its worker directly (on demand) while that worker lives.
SELECT shard.id, shard.job_id
FROM shard
WHERE shard.state = 'open' AND (
    shard.worker_id = ANY($1::bigint[])
    OR (
        shard.job_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM pgqueuer WHERE pgqueuer.id = shard.job_id)
    )
)
FOR UPDATE SKIP LOCKED
