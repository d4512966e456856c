INSERT INTO purse (tenant_id, available_microcredits, held_microcredits)
VALUES ($1, $2, $3)
ON CONFLICT (tenant_id) DO UPDATE SET available_microcredits = excluded.available_microcredits,
    held_microcredits = excluded.held_microcredits
