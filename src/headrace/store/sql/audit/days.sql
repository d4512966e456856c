SELECT counted.tenant_id AS tenant, counted.day, counted.items AS counted,
    coalesce(marked.items, 0) AS marked
FROM tenant_day AS counted
FULL JOIN (
    SELECT batch.tenant_id, item.day, count(*) AS items
    FROM item
    JOIN batch ON batch.id = item.batch_id
    WHERE item.day IS NOT NULL
    GROUP BY batch.tenant_id, item.day
) AS marked ON marked.tenant_id = counted.tenant_id AND marked.day = counted.day
WHERE coalesce(counted.items, 0) <> coalesce(marked.items, 0)
