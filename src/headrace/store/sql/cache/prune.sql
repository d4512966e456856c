-- Forget finished results made before $1 or past their time at $2; one that is being bought
-- anew is left to its buyer.
DELETE FROM cache_entry
WHERE claim_shard_id IS NULL AND sha256 IS NOT NULL AND (expires_at <= $2 OR created_at < $1)
RETURNING size_bytes
