SELECT available.balance_microcredits AS available, held.balance_microcredits AS held,
    tenant.unlimited
FROM tenant
JOIN account AS available ON available.tenant_id = tenant.id AND available.kind = 'available'
JOIN account AS held ON held.tenant_id = tenant.id AND held.kind = 'held'
WHERE tenant.id = $1
