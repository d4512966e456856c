SELECT account.id AS account, account.kind, account.balance_microcredits AS balance,
    coalesce(moved.total, 0) AS transfers
FROM account
LEFT JOIN (
    SELECT id, sum(amount) AS total
    FROM (
        SELECT debit_account_id AS id, -amount_microcredits AS amount FROM transfer
        UNION ALL
        SELECT credit_account_id, amount_microcredits FROM transfer
    ) AS sides
    GROUP BY id
) AS moved ON moved.id = account.id
WHERE account.balance_microcredits <> coalesce(moved.total, 0)
