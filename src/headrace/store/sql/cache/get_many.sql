SELECT entry.fingerprint, entry.sha256, entry.media_type, entry.size_bytes, entry.facts,
    entry.created_at, entry.expires_at, artifact.body
FROM cache_entry AS entry
LEFT JOIN artifact ON artifact.sha256 = entry.sha256
WHERE entry.tenant_id = $1 AND entry.fingerprint = ANY($2::bytea[])
    AND entry.sha256 IS NOT NULL AND entry.expires_at > $3
    AND ($4::timestamptz IS NULL OR entry.created_at >= $4)
