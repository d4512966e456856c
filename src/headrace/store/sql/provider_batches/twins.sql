-- The live lines of the same purchases; their keys are those of other items.
SELECT line.tenant_id, line.fingerprint, line.key, line.rescue_at
FROM provider_batch_line AS line
JOIN unnest($1::text[], $2::bytea[]) AS told (tenant_id, fingerprint)
    ON told.tenant_id = line.tenant_id AND told.fingerprint = line.fingerprint
WHERE line.state IN ('waiting', 'sent', 'answered')
