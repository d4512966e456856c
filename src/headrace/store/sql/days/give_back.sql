-- Credits that came back count no more, nor do items that ended without a result ($4), on whichever
-- days they did. Days are locked in one order everywhere, so that two groups of ends do not wait
-- for each other.
WITH freed AS (
    SELECT batch.tenant_id, item.batch_id, item.idx, item.day, item.credit_day, told.microcredits,
        told.is_lost
    FROM item
    JOIN unnest($1::uuid[], $2::integer[], $3::bigint[], $4::boolean[])
        AS told (batch_id, idx, microcredits, is_lost)
        ON item.batch_id = told.batch_id AND item.idx = told.idx
    JOIN batch ON batch.id = item.batch_id
    WHERE item.day IS NOT NULL OR item.credit_day IS NOT NULL
), unmarked AS (
    UPDATE item SET day = NULL, credit_day = NULL FROM freed
    WHERE item.batch_id = freed.batch_id AND item.idx = freed.idx AND freed.is_lost
), parts AS (
    SELECT tenant_id, day, 1 AS items, 0 AS microcredits FROM freed
    WHERE day IS NOT NULL AND is_lost
    UNION ALL
    SELECT tenant_id, credit_day, 0, microcredits FROM freed
    WHERE credit_day IS NOT NULL AND microcredits > 0
), sums AS (
    SELECT tenant_id, day, sum(items) AS items, sum(microcredits) AS microcredits
    FROM parts
    GROUP BY tenant_id, day
), locked AS MATERIALIZED (
    SELECT counted.tenant_id, counted.day FROM tenant_day AS counted
    JOIN sums ON sums.tenant_id = counted.tenant_id AND sums.day = counted.day
    ORDER BY counted.tenant_id, counted.day
    FOR UPDATE OF counted
)
UPDATE tenant_day
SET items = tenant_day.items - sums.items,
    microcredits = tenant_day.microcredits - sums.microcredits
FROM sums
JOIN locked ON locked.tenant_id = sums.tenant_id AND locked.day = sums.day
WHERE tenant_day.tenant_id = sums.tenant_id AND tenant_day.day = sums.day
