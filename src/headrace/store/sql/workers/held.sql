-- The open shards of a worker, to be handed over: the fence moves, so that nothing of it is written
-- any more, and past the fence of its attempts, so that nobody takes them for what it died of.
UPDATE shard SET fence = fence + 1, worker_id = NULL
WHERE worker_id = $1 AND state = 'open'
RETURNING id, job_id
