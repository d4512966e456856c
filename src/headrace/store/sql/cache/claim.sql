-- Claim the right to buy these fingerprints; those not returned are ready, or being bought by a
-- live holder. $5: now; $6: results made before this instant are to be replaced (refresh).
INSERT INTO cache_entry AS entry (tenant_id, fingerprint, claim_shard_id, claim_fence)
SELECT tenant_id, fingerprint, shard_id, fence
FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::integer[])
    AS claim (tenant_id, fingerprint, shard_id, fence)
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
