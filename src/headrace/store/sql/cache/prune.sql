-- Remove entries past their time (all finished ones with $2), but never a claim.
DELETE FROM cache_entry
WHERE sha256 IS NOT NULL AND claim_shard_id IS NULL AND (expires_at <= $1 OR $2)
RETURNING fingerprint
