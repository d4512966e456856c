-- Keep artifacts. One that is there already is locked until commit, and stays if it was to leave:
-- whoever removes it looks at it again behind this lock.
INSERT INTO artifact AS kept (sha256, media_type, size_bytes, body, created_at)
SELECT sha256, media_type, size_bytes, body, $5
FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bytea[])
    AS new (sha256, media_type, size_bytes, body)
ORDER BY sha256
ON CONFLICT (sha256) DO UPDATE SET doomed_at = NULL WHERE kept.doomed_at IS NOT NULL
