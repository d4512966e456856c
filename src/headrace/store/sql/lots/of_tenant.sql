SELECT lot.grant_id, lot.expires_at, lot.available_microcredits AS here,
    lot.held_microcredits AS held, purse.available_microcredits AS available_then,
    purse.held_microcredits AS held_then
FROM credit_lot AS lot
JOIN purse ON purse.tenant_id = lot.tenant_id
WHERE lot.tenant_id = $1
ORDER BY lot.expires_at, lot.grant_id
