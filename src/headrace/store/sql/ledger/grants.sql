-- An account's grants before a place, the latest first; $2, $3: the place; $4: how many.
SELECT id, kind, amount_microcredits, batch_id, idx, round, attempt, reason, reference, created_at,
    expires_at
FROM transfer
WHERE credit_account_id = $1 AND kind = 'grant' AND (created_at, id) < ($2, $3)
ORDER BY created_at DESC, id DESC
LIMIT $4
