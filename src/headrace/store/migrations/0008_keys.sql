-- Keys of the HTTP API. A new table: the release before neither reads nor misses it.

-- digest: SHA-256 of the key, which is kept nowhere. shown: its first characters.
CREATE TABLE api_key (
    id          uuid PRIMARY KEY,
    tenant_id   text NOT NULL REFERENCES tenant (id),
    name        text NOT NULL,
    shown       text NOT NULL,
    digest      bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    scope       text NOT NULL CHECK (scope IN ('admin', 'submit', 'read')),
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz,
    revoked_at  timestamptz
);
CREATE INDEX api_key_tenant ON api_key (tenant_id, created_at);
