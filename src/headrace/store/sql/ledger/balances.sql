SELECT account.tenant_id, account.kind, account.balance_microcredits, tenant.unlimited
FROM account
LEFT JOIN tenant ON tenant.id = account.tenant_id
WHERE $1::text IS NULL OR account.tenant_id = $1 OR account.tenant_id IS NULL
ORDER BY account.tenant_id NULLS LAST, account.kind
