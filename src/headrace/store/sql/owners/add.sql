INSERT INTO artifact_owner (tenant_id, sha256)
SELECT tenant_id, sha256 FROM unnest($1::text[], $2::bytea[]) AS made (tenant_id, sha256)
ORDER BY tenant_id, sha256
ON CONFLICT DO NOTHING
