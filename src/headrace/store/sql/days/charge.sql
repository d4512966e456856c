-- Count $3 more items on a tenant's day, if that leaves $4 at most; of those who race for the last
-- ones, each waits for the one before and sees what it counted.
INSERT INTO tenant_day AS counted (tenant_id, day, items)
VALUES ($1, $2, $3)
ON CONFLICT (tenant_id, day) DO UPDATE SET items = counted.items + excluded.items
WHERE counted.items + excluded.items <= $4
RETURNING items
