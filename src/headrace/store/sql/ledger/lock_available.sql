SELECT account.balance_microcredits, tenant.unlimited
FROM account
JOIN tenant ON tenant.id = account.tenant_id
WHERE account.tenant_id = $1 AND account.kind = 'available'
FOR UPDATE OF account
