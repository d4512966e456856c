INSERT INTO worker (host, pid, version, shards_held, started_at)
VALUES ($1, $2, $3, $4, $5)
RETURNING id
