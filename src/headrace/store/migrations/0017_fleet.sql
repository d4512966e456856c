-- What many workers share. Only new tables and columns that have a default or may be null: the
-- release before goes on beside it.

-- With what a tenant's results are sealed in the shared cache in front of cache_entry. A new secret
-- forgets all that was sealed before, also where that cache cannot be reached.
CREATE TABLE cache_secret (
    tenant_id  text PRIMARY KEY REFERENCES tenant (id),
    secret     bytea NOT NULL CHECK (octet_length(secret) = 32)
);
