-- Write lines down. One that is there already, under its key or as the same purchase, is left.
INSERT INTO provider_batch_line (key, tenant_id, batch_id, idx, fingerprint, provider, line_group,
    body, body_bytes, tokens, rescue_at, created_at)
SELECT key, tenant_id, batch_id, idx, fingerprint, provider, line_group, body,
    octet_length(body), tokens, rescue_at, $11
FROM unnest($1::text[], $2::text[], $3::uuid[], $4::integer[], $5::bytea[], $6::text[], $7::text[],
    $8::bytea[], $9::integer[], $10::timestamptz[])
    AS line (key, tenant_id, batch_id, idx, fingerprint, provider, line_group, body, tokens,
        rescue_at)
ORDER BY tenant_id, fingerprint
ON CONFLICT DO NOTHING
