INSERT INTO worker (host, pid, version, shards_held, started_at, heartbeat_at, classes)
VALUES ($1, $2, $3, $4, $5, $5, $6)
RETURNING id
