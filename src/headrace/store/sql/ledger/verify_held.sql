-- What is held for a tenant is the reserve of its open items, no more and no less.
SELECT account.tenant_id || ':held' AS place, coalesce(reserved.amount, 0)::text AS expected,
    account.balance_microcredits::text AS found
FROM account
LEFT JOIN (
    SELECT batch.tenant_id, sum(batch.reserve_microcredits) AS amount
    FROM item
    JOIN batch ON batch.id = item.batch_id
    WHERE item.state IN ('pending', 'running', 'waiting', 'unknown')
    GROUP BY batch.tenant_id
) AS reserved ON reserved.tenant_id = account.tenant_id
WHERE account.kind = 'held' AND account.balance_microcredits <> coalesce(reserved.amount, 0)
ORDER BY place
