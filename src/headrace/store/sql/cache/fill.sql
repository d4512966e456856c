-- Turn claims into finished results; a claim taken over meanwhile is left to its new holder.
UPDATE cache_entry AS entry
SET sha256 = filled.sha256, media_type = filled.media_type, size_bytes = filled.size_bytes,
    facts = filled.facts::json, created_at = $9, expires_at = filled.expires_at,
    claim_shard_id = NULL, claim_fence = NULL
FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::integer[], $5::bytea[], $6::text[],
    $7::bigint[], $8::text[], $10::timestamptz[])
    AS filled (tenant_id, fingerprint, shard_id, fence, sha256, media_type, size_bytes, facts,
        expires_at)
WHERE entry.tenant_id = filled.tenant_id AND entry.fingerprint = filled.fingerprint
    AND entry.claim_shard_id = filled.shard_id AND entry.claim_fence = filled.fence
