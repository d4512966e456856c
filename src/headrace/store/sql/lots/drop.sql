DELETE FROM credit_lot WHERE tenant_id = $1 AND grant_id <> ALL($2::bigint[])
