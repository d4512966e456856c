-- Claim the right to buy these fingerprints; those not returned are ready, or being bought by a
-- live holder. $5: now; $6: results made before this instant are to be replaced (refresh). A holder
-- that died lives on in its shard while an attempt of it is open there: that item is to go on with
-- what it began before anybody else buys. $7, $8: the batch and the row of who claims.
INSERT INTO cache_entry AS entry (tenant_id, fingerprint, claim_shard_id, claim_fence)
SELECT tenant_id, fingerprint, shard_id, fence
FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::integer[], $7::uuid[], $8::integer[])
    AS claim (tenant_id, fingerprint, shard_id, fence, batch_id, idx)
WHERE (
    SELECT attempt.number
    FROM cache_entry AS held
    JOIN shard ON shard.id = held.claim_shard_id AND shard.fence > held.claim_fence
        AND shard.state = 'open'
    JOIN attempt ON attempt.batch_id = shard.batch_id
        AND attempt.idx BETWEEN shard.idx_from AND shard.idx_to
        AND attempt.shard_id = shard.id AND attempt.fingerprint = held.fingerprint
        AND attempt.state IN ('started', 'accepted', 'unknown')
    WHERE held.tenant_id = claim.tenant_id AND held.fingerprint = claim.fingerprint
        AND (attempt.batch_id, attempt.idx) <> (claim.batch_id, claim.idx)
    LIMIT 1
) IS NULL
ORDER BY tenant_id, fingerprint
ON CONFLICT (tenant_id, fingerprint) DO UPDATE
SET claim_shard_id = excluded.claim_shard_id, claim_fence = excluded.claim_fence
WHERE (
    entry.sha256 IS NULL OR entry.expires_at <= $5::timestamptz
    OR entry.created_at < $6::timestamptz
) AND (
    entry.claim_shard_id IS NULL
    OR (entry.claim_shard_id = excluded.claim_shard_id AND entry.claim_fence = excluded.claim_fence)
    OR NOT EXISTS (
        SELECT FROM shard
        WHERE shard.id = entry.claim_shard_id AND shard.fence = entry.claim_fence
            AND shard.state = 'open'
    )
)
RETURNING tenant_id, fingerprint
