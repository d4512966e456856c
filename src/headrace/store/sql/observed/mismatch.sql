-- What of two invariants of the ledger is broken, without reading a transfer or an item: what is
-- held is the reserves of the open items, and what one account gives another takes.
SELECT (
    SELECT coalesce(sum(abs(account.balance_microcredits - coalesce(open.reserve, 0))), 0)
    FROM account
    LEFT JOIN (
        SELECT batch.tenant_id, sum(batch.reserve_microcredits
            * (counts.pending + counts.running + counts.waiting + counts.unknown)) AS reserve
        FROM batch
        JOIN batch_progress AS counts ON counts.batch_id = batch.id
        WHERE batch.state IN ('validating', 'canary', 'running', 'paused', 'finalizing')
        GROUP BY batch.tenant_id
    ) AS open ON open.tenant_id = account.tenant_id
    WHERE account.kind = 'held'
)::bigint AS held, (SELECT coalesce(abs(sum(balance_microcredits)), 0) FROM account)::bigint AS sides
