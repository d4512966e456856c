UPDATE tenant SET served_cost = told.served_cost
FROM unnest($1::text[], $2::bigint[]) AS told (id, served_cost)
WHERE tenant.id = told.id
