-- Batches with items that were never cut, the first in line of each tenant and class.
SELECT DISTINCT ON (batch.tenant_id, batch.class) batch.id, batch.tenant_id, batch.class,
    batch.cut_idx, batch.item_count, tenant.weight, tenant.served_cost
FROM batch
JOIN tenant ON tenant.id = batch.tenant_id
WHERE batch.state IN ('canary', 'running') AND batch.cut_idx < batch.item_count
ORDER BY batch.tenant_id, batch.class, batch.created_at
