-- Balances recomputed from the transfers: an account holds what came in less what went out.
SELECT coalesce(account.tenant_id || ':', '') || account.kind AS place,
    coalesce(moved.amount, 0)::text AS expected, account.balance_microcredits::text AS found
FROM account
LEFT JOIN (
    SELECT account_id, sum(amount) AS amount
    FROM (
        SELECT credit_account_id AS account_id, amount_microcredits AS amount FROM transfer
        UNION ALL
        SELECT debit_account_id, -amount_microcredits FROM transfer
    ) AS sides
    GROUP BY account_id
) AS moved ON moved.account_id = account.id
WHERE account.balance_microcredits <> coalesce(moved.amount, 0)
ORDER BY place
