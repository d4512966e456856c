INSERT INTO provider_batch_wait (batch_id, idx, key)
SELECT batch_id, idx, key FROM unnest($1::uuid[], $2::integer[], $3::text[])
    AS told (batch_id, idx, key)
ORDER BY batch_id, idx
ON CONFLICT (batch_id, idx) DO UPDATE SET key = excluded.key
