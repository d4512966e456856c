-- A tenant's entries behind a place and before an instant, the oldest first.
-- $1: available, $2: held; $3, $4: the place; $5: the instant; $6: how many.
SELECT one.id, one.kind, one.amount_microcredits, one.batch_id, one.idx, one.round, one.attempt,
    one.reason, one.reference, one.created_at, one.expires_at
FROM (
    (SELECT * FROM transfer
        WHERE debit_account_id = $1 AND (created_at, id) > ($3, $4) AND created_at < $5
        ORDER BY created_at, id LIMIT $6)
    UNION ALL
    (SELECT * FROM transfer
        WHERE debit_account_id = $2 AND (created_at, id) > ($3, $4) AND created_at < $5
        ORDER BY created_at, id LIMIT $6)
    UNION ALL
    (SELECT * FROM transfer
        WHERE credit_account_id = $1 AND kind = 'grant' AND (created_at, id) > ($3, $4)
            AND created_at < $5
        ORDER BY created_at, id LIMIT $6)
) AS one
ORDER BY one.created_at, one.id
LIMIT $6
