-- Every round of an item that is over was settled once: posted and returned make its reserve.
-- A round that is still open was not settled at all; a row that was never accepted has none.
WITH due AS (
    SELECT item.batch_id, item.idx, one.round::smallint AS round,
        CASE WHEN one.round < item.round
                OR item.state NOT IN ('pending', 'running', 'waiting', 'unknown')
            THEN batch.reserve_microcredits ELSE 0 END AS amount
    FROM item
    JOIN batch ON batch.id = item.batch_id
    CROSS JOIN LATERAL generate_series(1, item.round) AS one (round)
    WHERE coalesce(item.error ->> 'code', '') <> 'invalid_input'
), settled AS (
    SELECT batch_id, idx, round, sum(amount_microcredits) AS amount
    FROM transfer
    WHERE kind IN ('post', 'void')
    GROUP BY batch_id, idx, round
)
SELECT batch_id AS batch, idx + 1 AS row, round,
    coalesce(due.amount, 0) AS due, coalesce(settled.amount, 0) AS settled
FROM due
FULL JOIN settled USING (batch_id, idx, round)
WHERE coalesce(due.amount, 0) <> coalesce(settled.amount, 0)
ORDER BY batch_id, idx, round
LIMIT 1000
