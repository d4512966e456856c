-- Count $3 more items and $4 more micro-credits on a tenant's day, if that leaves $5 and $6 at most
-- (null: any); of those who race for the last ones, each waits for the one before and sees what it
-- counted.
INSERT INTO tenant_day AS counted (tenant_id, day, items, microcredits)
VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, day) DO UPDATE
SET items = counted.items + excluded.items,
    microcredits = counted.microcredits + excluded.microcredits
WHERE ($5::bigint IS NULL OR counted.items + excluded.items <= $5)
    AND ($6::bigint IS NULL OR excluded.microcredits = 0
        OR counted.microcredits + excluded.microcredits <= $6)
RETURNING items
