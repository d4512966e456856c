-- Bytes that may be nobody's any more: looked at from $2 on.
INSERT INTO leaving_blob (sha256, due_at)
SELECT DISTINCT sha256, $2::timestamptz FROM unnest($1::bytea[]) AS left_over (sha256)
ORDER BY sha256
ON CONFLICT (sha256) DO NOTHING
