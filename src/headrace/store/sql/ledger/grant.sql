INSERT INTO transfer (kind, debit_account_id, credit_account_id, amount_microcredits, reason,
    reference, created_at, expires_at)
VALUES ('grant', $1, $2, $3, $4, $5, $6, $7)
RETURNING id
