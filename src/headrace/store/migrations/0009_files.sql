-- Files that come in over HTTP, and that batches write. A new table: the release before neither
-- reads nor misses it. The bytes lie in the blob store under their hash.
CREATE TABLE file (
    id          uuid PRIMARY KEY,
    tenant_id   text NOT NULL REFERENCES tenant (id),
    name        text NOT NULL,
    purpose     text NOT NULL CHECK (purpose IN ('batch', 'batch_output')),
    sha256      bytea NOT NULL CHECK (octet_length(sha256) = 32),
    size_bytes  bigint NOT NULL CHECK (size_bytes >= 0),
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz
);
CREATE INDEX file_of_tenant ON file (tenant_id, id);
CREATE INDEX file_by_hash ON file (sha256);
CREATE INDEX file_expiry ON file (expires_at) WHERE expires_at IS NOT NULL;
