-- Remove entries past their time (all finished ones with $2), but never a claim. Their artifacts
-- leave if nobody else has them.
WITH gone AS (
    DELETE FROM cache_entry
    WHERE sha256 IS NOT NULL AND claim_shard_id IS NULL AND (expires_at <= $1 OR $2)
    RETURNING tenant_id, sha256
), doomed AS (
    UPDATE artifact SET doomed_at = $1
    WHERE sha256 IN (SELECT sha256 FROM gone ORDER BY sha256)
)
SELECT tenant_id, count(*) AS removed FROM gone GROUP BY tenant_id
