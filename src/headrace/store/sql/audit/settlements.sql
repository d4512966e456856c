-- Rows that could not be read never had a reserve.
SELECT batch.id AS batch, item.idx + 1 AS row, item.round,
    batch.reserve_microcredits AS reserve, coalesce(settled.amount, 0) AS settled
FROM item
JOIN batch ON batch.id = item.batch_id
LEFT JOIN (
    SELECT batch_id, idx, round, sum(amount_microcredits) AS amount
    FROM transfer
    WHERE kind IN ('post', 'void')
    GROUP BY batch_id, idx, round
) AS settled ON settled.batch_id = item.batch_id AND settled.idx = item.idx
    AND settled.round = item.round
WHERE batch.reserve_microcredits > 0
    AND item.state IN ('succeeded', 'failed', 'refused', 'cancelled', 'dead')
    AND coalesce(item.error ->> 'code', '') <> 'invalid_input'
    AND coalesce(settled.amount, 0) <> batch.reserve_microcredits
