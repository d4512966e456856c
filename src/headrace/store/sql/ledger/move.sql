-- Apply the sums of a group of transfers to their accounts, locked in one order everywhere.
WITH locked AS (
    SELECT id FROM account WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE
)
UPDATE account
SET balance_microcredits = account.balance_microcredits + moved.amount_microcredits
FROM unnest($1::bigint[], $2::bigint[]) AS moved (id, amount_microcredits)
JOIN locked ON locked.id = moved.id
WHERE account.id = moved.id
