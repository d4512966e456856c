-- Null leaves a setting as it is. One that is enabled again starts without its past.
UPDATE webhook
SET url = coalesce($3, url), events = coalesce($4, events), state = coalesce($5, state),
    reason = CASE WHEN $5 = 'enabled' THEN NULL WHEN $5 = 'disabled' THEN 'by a person' ELSE reason END,
    failing_since = CASE WHEN $5 = 'enabled' THEN NULL ELSE failing_since END
WHERE tenant_id = $1 AND id = $2
RETURNING id
