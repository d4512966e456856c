-- Items that ended without a result count no more, on whichever day they did. Days are locked in
-- one order everywhere, so that two groups of ends do not wait for each other.
WITH freed AS (
    SELECT item.batch_id, item.idx, item.day FROM item
    JOIN unnest($1::uuid[], $2::integer[]) AS told (batch_id, idx)
        ON item.batch_id = told.batch_id AND item.idx = told.idx
    WHERE item.day IS NOT NULL
), unmarked AS (
    UPDATE item SET day = NULL FROM freed
    WHERE item.batch_id = freed.batch_id AND item.idx = freed.idx
), sums AS (
    SELECT batch.tenant_id, freed.day, count(*) AS items
    FROM freed
    JOIN batch ON batch.id = freed.batch_id
    GROUP BY batch.tenant_id, freed.day
), locked AS MATERIALIZED (
    SELECT counted.tenant_id, counted.day FROM tenant_day AS counted
    JOIN sums ON sums.tenant_id = counted.tenant_id AND sums.day = counted.day
    ORDER BY counted.tenant_id, counted.day
    FOR UPDATE OF counted
)
UPDATE tenant_day SET items = tenant_day.items - sums.items
FROM sums
JOIN locked ON locked.tenant_id = sums.tenant_id AND locked.day = sums.day
WHERE tenant_day.tenant_id = sums.tenant_id AND tenant_day.day = sums.day
