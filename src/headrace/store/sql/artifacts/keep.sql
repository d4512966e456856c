INSERT INTO artifact (sha256, media_type, size_bytes, body, created_at)
SELECT sha256, media_type, size_bytes, body, $5
FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bytea[])
    AS kept (sha256, media_type, size_bytes, body)
ORDER BY sha256
ON CONFLICT (sha256) DO NOTHING
