-- Keep other facts with a finished result, unless it was replaced meanwhile.
UPDATE cache_entry SET facts = $4::text::json
WHERE tenant_id = $1 AND fingerprint = $2 AND sha256 = $3
