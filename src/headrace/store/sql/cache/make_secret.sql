-- Waits for a renewal that is under way, and then changes nothing.
INSERT INTO cache_secret (tenant_id, secret)
SELECT id, $2::bytea FROM tenant WHERE id = $1
ON CONFLICT (tenant_id) DO NOTHING
