-- What many workers share. Only new tables and columns that have a default or may be null: the
-- release before goes on beside it.

-- With what a tenant's results are sealed in the shared cache in front of cache_entry. A new secret
-- forgets all that was sealed before, also where that cache cannot be reached.
CREATE TABLE cache_secret (
    tenant_id  text PRIMARY KEY REFERENCES tenant (id),
    secret     bytea NOT NULL CHECK (octet_length(secret) = 32)
);

-- What a worker tells of itself: classes, the batches of which it works on (null: all); its last
-- sign of life; since when it takes no more and ends what it has.
ALTER TABLE worker
    ADD COLUMN classes text[],
    ADD COLUMN heartbeat_at timestamptz,
    ADD COLUMN draining_at timestamptz;
