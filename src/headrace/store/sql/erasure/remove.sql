-- Remove artifacts that are nobody's; one that was kept anew meanwhile is no longer doomed. What the
-- cache says of them is past its time. Returns the hashes of those whose bytes are blobs.
WITH gone AS (
    DELETE FROM artifact
    WHERE sha256 = ANY($1::bytea[]) AND doomed_at <= $2
    RETURNING sha256, body IS NULL AS is_blob
), unowned AS (
    DELETE FROM artifact_owner WHERE sha256 IN (SELECT sha256 FROM gone)
), uncached AS (
    DELETE FROM cache_entry WHERE claim_shard_id IS NULL AND sha256 IN (SELECT sha256 FROM gone)
)
SELECT sha256, is_blob FROM gone
