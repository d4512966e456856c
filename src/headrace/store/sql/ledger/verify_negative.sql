-- Nobody owes: what a tenant has and what is held for it never fall below zero.
SELECT tenant_id || ':' || kind AS place, '0 or more' AS expected,
    balance_microcredits::text AS found
FROM account
WHERE kind IN ('available', 'held') AND balance_microcredits < 0
ORDER BY place
