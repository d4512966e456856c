-- A tenant and its two accounts, or nothing where there is one of that id.
WITH made AS (
    INSERT INTO tenant (id, name, plan, timezone, unlimited, created_at)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
)
INSERT INTO account (tenant_id, kind)
SELECT made.id, kind FROM made, unnest(ARRAY['available', 'held']) AS kind
ON CONFLICT DO NOTHING
RETURNING tenant_id
