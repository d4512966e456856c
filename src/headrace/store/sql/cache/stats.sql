SELECT count(*) FILTER (WHERE sha256 IS NOT NULL AND expires_at > $1) AS live,
    count(*) FILTER (WHERE sha256 IS NOT NULL AND expires_at <= $1) AS expired,
    count(*) FILTER (WHERE claim_shard_id IS NOT NULL) AS claimed,
    coalesce(sum(size_bytes) FILTER (WHERE expires_at > $1), 0)::bigint AS size_bytes,
    min(created_at) FILTER (WHERE expires_at > $1) AS oldest_at,
    (SELECT coalesce(sum(cached), 0) FROM batch_progress)::bigint AS items_cached,
    (SELECT coalesce(sum(succeeded), 0) FROM batch_progress)::bigint AS items_succeeded
FROM cache_entry
