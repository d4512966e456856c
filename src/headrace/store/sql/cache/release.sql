-- Give claims back without a result: a failed or refused result is never cached.
WITH given AS (
    SELECT tenant_id, fingerprint, shard_id, fence
    FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::integer[])
        AS given (tenant_id, fingerprint, shard_id, fence)
), locked AS (
    SELECT entry.tenant_id, entry.fingerprint, entry.sha256 IS NULL AS empty
    FROM cache_entry AS entry
    JOIN given ON entry.tenant_id = given.tenant_id AND entry.fingerprint = given.fingerprint
        AND entry.claim_shard_id = given.shard_id AND entry.claim_fence = given.fence
    ORDER BY entry.tenant_id, entry.fingerprint
    FOR UPDATE OF entry
), kept AS (
    UPDATE cache_entry SET claim_shard_id = NULL, claim_fence = NULL
    FROM locked
    WHERE cache_entry.tenant_id = locked.tenant_id
        AND cache_entry.fingerprint = locked.fingerprint AND NOT locked.empty
)
DELETE FROM cache_entry
USING locked
WHERE cache_entry.tenant_id = locked.tenant_id
    AND cache_entry.fingerprint = locked.fingerprint AND locked.empty
