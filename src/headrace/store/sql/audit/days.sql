-- A day counts its open and delivered items, and of their credits what is held or was charged.
WITH marked AS (
    SELECT batch.tenant_id, item.day, 1 AS items, 0 AS microcredits
    FROM item
    JOIN batch ON batch.id = item.batch_id
    WHERE item.day IS NOT NULL
    UNION ALL
    SELECT batch.tenant_id, item.credit_day, 0,
        CASE WHEN item.state = 'succeeded'
            THEN least(item.spent_microcredits, batch.reserve_microcredits)
            ELSE batch.reserve_microcredits END
    FROM item
    JOIN batch ON batch.id = item.batch_id
    WHERE item.credit_day IS NOT NULL
), sums AS (
    SELECT tenant_id, day, sum(items) AS items, sum(microcredits) AS microcredits
    FROM marked
    GROUP BY tenant_id, day
)
SELECT coalesce(counted.tenant_id, sums.tenant_id) AS tenant,
    coalesce(counted.day, sums.day) AS day,
    coalesce(counted.items, 0) AS items_counted, coalesce(sums.items, 0) AS items_marked,
    coalesce(counted.microcredits, 0) AS microcredits_counted,
    coalesce(sums.microcredits, 0) AS microcredits_marked
FROM tenant_day AS counted
FULL JOIN sums ON sums.tenant_id = counted.tenant_id AND sums.day = counted.day
WHERE coalesce(counted.items, 0) <> coalesce(sums.items, 0)
    OR coalesce(counted.microcredits, 0) <> coalesce(sums.microcredits, 0)
