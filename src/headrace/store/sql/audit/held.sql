SELECT account.tenant_id AS tenant, account.balance_microcredits AS held,
    coalesce(open.reserve, 0) AS open_reserves
FROM account
LEFT JOIN (
    SELECT batch.tenant_id, sum(batch.reserve_microcredits) AS reserve
    FROM item
    JOIN batch ON batch.id = item.batch_id
    WHERE item.state IN ('pending', 'running', 'waiting', 'unknown')
    GROUP BY batch.tenant_id
) AS open ON open.tenant_id = account.tenant_id
WHERE account.kind = 'held' AND account.balance_microcredits <> coalesce(open.reserve, 0)
