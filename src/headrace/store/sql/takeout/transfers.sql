SELECT transfer.id, transfer.kind AS transfer, transfer.amount_microcredits, transfer.batch_id,
    transfer.idx, transfer.round, transfer.attempt, transfer.reason, transfer.created_at,
    coalesce(debit.tenant_id, 'platform') || ':' || debit.kind AS debit,
    coalesce(credit.tenant_id, 'platform') || ':' || credit.kind AS credit
FROM transfer
JOIN account AS debit ON debit.id = transfer.debit_account_id
JOIN account AS credit ON credit.id = transfer.credit_account_id
WHERE (debit.tenant_id = $1 OR credit.tenant_id = $1) AND transfer.id > $2
ORDER BY transfer.id
LIMIT $3
