-- Pictures that callers send along are files, too; and what was answered under an idempotency key.
-- The release before knows neither, and misses neither.
ALTER TABLE file DROP CONSTRAINT file_purpose_check;
ALTER TABLE file ADD CONSTRAINT file_purpose_check
    CHECK (purpose IN ('batch', 'batch_output', 'vision'));

-- told: what was answered, once it was; until then the purchase is found by the key's id.
CREATE TABLE answer_key (
    id              uuid PRIMARY KEY,
    tenant_id       text NOT NULL REFERENCES tenant (id),
    key             text NOT NULL,
    request_digest  bytea NOT NULL CHECK (octet_length(request_digest) = 32),
    told            json,
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    CONSTRAINT answer_key_once UNIQUE (tenant_id, key)
);
CREATE INDEX answer_key_expiry ON answer_key (expires_at);
