-- Those of some artifacts that a tenant may name: made for it, or handed in by it.
SELECT asked.sha256 FROM unnest($2::bytea[]) AS asked (sha256)
WHERE EXISTS (
    SELECT FROM artifact_owner AS own
    WHERE own.tenant_id = $1 AND own.sha256 = asked.sha256
) OR EXISTS (SELECT FROM file WHERE file.sha256 = asked.sha256 AND file.tenant_id = $1)
