SELECT count(*) FILTER (WHERE sha256 IS NOT NULL AND expires_at > $1) AS live,
    count(*) FILTER (WHERE sha256 IS NOT NULL AND expires_at <= $1) AS expired,
    count(*) FILTER (WHERE claim_shard_id IS NOT NULL) AS being_bought,
    coalesce(sum(size_bytes) FILTER (WHERE expires_at > $1), 0)::bigint AS live_bytes,
    min(created_at) AS oldest
FROM cache_entry
