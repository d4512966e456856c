-- A delivered item is charged once: what its purchases cost, up to its reserve. Any other
-- item (failed, refused, cancelled, dead, still open) is charged nothing.
WITH posted AS (
    SELECT batch_id, idx, sum(amount_microcredits) AS amount
    FROM transfer
    WHERE kind = 'post'
    GROUP BY batch_id, idx
), due AS (
    SELECT item.batch_id, item.idx, item.state,
        CASE WHEN item.state = 'succeeded'
            THEN least(item.spent_microcredits, batch.reserve_microcredits) ELSE 0 END AS amount
    FROM item
    JOIN batch ON batch.id = item.batch_id
)
SELECT batch_id AS batch, idx + 1 AS row, coalesce(due.state, 'no such item') AS state,
    coalesce(due.amount, 0) AS due, coalesce(posted.amount, 0) AS charged
FROM due
FULL JOIN posted USING (batch_id, idx)
WHERE coalesce(due.amount, 0) <> coalesce(posted.amount, 0)
ORDER BY batch_id, idx
LIMIT 1000
