-- Also where there was none: who is about to make one at this moment waits, and takes this one.
INSERT INTO cache_secret (tenant_id, secret)
SELECT told.id, told.secret
FROM unnest($1::text[], $2::bytea[]) AS told (id, secret)
JOIN tenant ON tenant.id = told.id
ORDER BY told.id
ON CONFLICT (tenant_id) DO UPDATE SET secret = excluded.secret
