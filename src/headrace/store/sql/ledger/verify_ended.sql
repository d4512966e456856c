-- A batch that is over has nothing open, and one with nothing open is over.
SELECT batch.id::text AS batch, batch.state AS place,
    CASE WHEN batch.state IN ('completed', 'cancelled', 'expired', 'failed')
        THEN 'no open item' ELSE 'an open item' END AS expected,
    coalesce(items.open, 0) || ' open' AS found
FROM batch
LEFT JOIN (
    SELECT batch_id, count(*) AS open
    FROM item
    WHERE state IN ('pending', 'running', 'waiting', 'unknown')
    GROUP BY batch_id
) AS items ON items.batch_id = batch.id
WHERE (batch.state IN ('completed', 'cancelled', 'expired', 'failed'))
    <> (coalesce(items.open, 0) = 0)
ORDER BY batch.id
LIMIT 1000
