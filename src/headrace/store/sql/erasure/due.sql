-- Ended batches of which something is past its time: by the tenant's own days, else by $2 to $4.
WITH tenants AS (
    SELECT tenant.id,
        $1::timestamptz - make_interval(days => CASE WHEN retention.tenant_id IS NULL
            THEN $2::integer ELSE retention.inputs_days END) AS inputs_before,
        $1::timestamptz - make_interval(days => CASE WHEN retention.tenant_id IS NULL
            THEN $3::integer ELSE retention.artifacts_days END) AS artifacts_before,
        $1::timestamptz - make_interval(days => CASE WHEN retention.tenant_id IS NULL
            THEN $4::integer ELSE retention.events_days END) AS events_before
    FROM tenant
    LEFT JOIN retention ON retention.tenant_id = tenant.id
), found AS (
    SELECT batch.id, batch.finished_at,
        batch.inputs_gone_at IS NULL AND batch.finished_at < tenants.inputs_before AS inputs,
        batch.artifacts_gone_at IS NULL AND batch.finished_at < tenants.artifacts_before AS artifacts,
        batch.events_gone_at IS NULL AND batch.finished_at < tenants.events_before AS events
    FROM tenants
    JOIN batch ON batch.tenant_id = tenants.id
        AND batch.finished_at
            < greatest(tenants.inputs_before, tenants.artifacts_before, tenants.events_before)
    WHERE batch.state IN ('completed', 'cancelled', 'expired', 'failed')
)
SELECT id, inputs, artifacts, events
FROM found
WHERE inputs OR artifacts OR events
ORDER BY finished_at
LIMIT 100
