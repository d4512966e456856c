-- Double entry: what one account gains another loses, so that all balances sum to zero.
SELECT 'all accounts' AS place, '0' AS expected, sum(balance_microcredits)::text AS found
FROM account
HAVING sum(balance_microcredits) <> 0
