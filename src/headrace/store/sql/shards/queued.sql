UPDATE shard SET job_id = queued.job_id
FROM unnest($1::bigint[], $2::bigint[]) AS queued (id, job_id)
WHERE shard.id = queued.id
