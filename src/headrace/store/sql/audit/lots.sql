-- What is left of grants that expire is part of what the tenant had when that was written down, and
-- since then credits only came back or were posted. No lot is larger than its grant.
SELECT purse.tenant_id AS tenant, purse.available_microcredits AS available_then,
    purse.held_microcredits AS held_then, available.balance_microcredits AS available,
    held.balance_microcredits AS held, lots.available AS in_lots, lots.held AS held_in_lots,
    lots.too_large
FROM purse
JOIN account AS available
    ON available.tenant_id = purse.tenant_id AND available.kind = 'available'
JOIN account AS held ON held.tenant_id = purse.tenant_id AND held.kind = 'held'
LEFT JOIN LATERAL (
    SELECT sum(lot.available_microcredits) AS available, sum(lot.held_microcredits) AS held,
        count(*) FILTER (WHERE lot.available_microcredits + lot.held_microcredits
            > transfer.amount_microcredits) AS too_large
    FROM credit_lot AS lot
    JOIN transfer ON transfer.id = lot.grant_id AND transfer.credit_account_id = available.id
        AND transfer.expires_at = lot.expires_at
    WHERE lot.tenant_id = purse.tenant_id
) AS lots ON true
WHERE lots.available IS NULL OR lots.too_large > 0
    OR lots.available > purse.available_microcredits OR lots.held > purse.held_microcredits
    OR available.balance_microcredits < purse.available_microcredits
    OR available.balance_microcredits + held.balance_microcredits
        > purse.available_microcredits + purse.held_microcredits
