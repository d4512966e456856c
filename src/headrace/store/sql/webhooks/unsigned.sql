-- Endpoints that wait for a master key that is not among $1.
SELECT count(*)
FROM webhook
WHERE state = 'enabled' AND secret_master <> ALL($1::text[])
