-- Workers that are signed in, and those that ended since $1. is_there: its session holds its lock.
SELECT worker.id, worker.host, worker.pid, worker.version, worker.shards_held, worker.classes,
    worker.started_at, worker.heartbeat_at, worker.draining_at, worker.ended_at,
    held.shards, held.express,
    EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND classid = 7262 AND objid = worker.id::integer::oid
            AND objsubid = 2
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS is_there
FROM worker
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE NOT express) AS shards, count(*) FILTER (WHERE express) AS express
    FROM shard
    WHERE shard.worker_id = worker.id AND shard.state = 'open' AND worker.ended_at IS NULL
) AS held
WHERE worker.ended_at IS NULL OR worker.ended_at > $1
ORDER BY worker.id
