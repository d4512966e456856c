INSERT INTO credit_lot (tenant_id, grant_id, expires_at, available_microcredits, held_microcredits)
SELECT $1, grant_id, expires_at, available, held
FROM unnest($2::bigint[], $3::timestamptz[], $4::bigint[], $5::bigint[])
    AS told (grant_id, expires_at, available, held)
ON CONFLICT (grant_id) DO UPDATE SET available_microcredits = excluded.available_microcredits,
    held_microcredits = excluded.held_microcredits
