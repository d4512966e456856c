-- The latest transfers, those of one item gathered under their batch, kind and reason.
SELECT max(transfer.created_at) AS created_at, transfer.kind, count(*) AS transfers,
    sum(transfer.amount_microcredits)::bigint AS amount_microcredits, transfer.batch_id,
    transfer.reason, coalesce(debit.tenant_id || ':', '') || debit.kind AS debit,
    coalesce(credit.tenant_id || ':', '') || credit.kind AS credit
FROM transfer
JOIN account AS debit ON debit.id = transfer.debit_account_id
JOIN account AS credit ON credit.id = transfer.credit_account_id
WHERE $1::text IS NULL OR debit.tenant_id = $1 OR credit.tenant_id = $1
GROUP BY transfer.kind, transfer.batch_id, transfer.reason, debit.tenant_id, debit.kind,
    credit.tenant_id, credit.kind
ORDER BY max(transfer.id) DESC
LIMIT $2
