-- Batches with items that were never cut: of each tenant and class the first in line of each recipe,
-- the $1 oldest of them. While a batch is in its canary, the items of the canary are all there is of it
-- (here: its item_count).
SELECT id, tenant_id, class, recipe_version, cut_idx, item_count, weight, calls_max, served_cost
FROM (
    SELECT first.*,
        row_number() OVER (PARTITION BY tenant_id, class ORDER BY created_at, id) AS place
    FROM (
        SELECT DISTINCT ON (batch.tenant_id, batch.class, batch.recipe_version)
            batch.id, batch.tenant_id, batch.class, batch.recipe_version, batch.created_at,
            batch.cut_idx, whole.item_count, plan.weight, plan.calls_max, tenant.served_cost
        FROM batch
        JOIN tenant ON tenant.id = batch.tenant_id
        JOIN plan ON plan.name = tenant.plan
        CROSS JOIN LATERAL (
            SELECT CASE WHEN batch.state = 'canary' THEN least(batch.canary, batch.item_count)
                ELSE batch.item_count END AS item_count
        ) AS whole
        WHERE batch.state IN ('canary', 'running') AND batch.cut_idx < batch.item_count
            AND batch.cut_idx < whole.item_count
        ORDER BY batch.tenant_id, batch.class, batch.recipe_version, batch.created_at
    ) AS first
) AS told
WHERE place <= $1
