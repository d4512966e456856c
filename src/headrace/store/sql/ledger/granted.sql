SELECT id, amount_microcredits, reason, created_at, expires_at
FROM transfer
WHERE credit_account_id = $1 AND reference = $2 AND kind = 'grant'
