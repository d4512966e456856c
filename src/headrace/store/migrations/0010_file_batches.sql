-- Batches whose items are the lines of a file, as OpenAI's API has them. A new table: the release
-- before neither reads nor misses it. A file that is good becomes a batch with the same id.

-- state: 'expiring' is a batch whose window is over and whose calls under way still end. key_id and
-- request_digest: a client that never saw the answer asks again, with the same key for the same.
CREATE TABLE file_batch (
    id                uuid PRIMARY KEY,
    tenant_id         text NOT NULL REFERENCES tenant (id),
    key_id            uuid NOT NULL,
    idempotency_key   text,
    request_digest    bytea NOT NULL,
    input_file_id     uuid NOT NULL,
    endpoint          text NOT NULL,
    metadata          json,
    outputs_end_after_s integer,
    state             text NOT NULL DEFAULT 'validating',
    errors            json,
    output_file_id    uuid,
    error_file_id     uuid,
    created_at        timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    in_progress_at    timestamptz,
    cancelling_at     timestamptz,
    expiring_at       timestamptz,
    ended_at          timestamptz,
    CONSTRAINT file_batch_state CHECK (state IN ('validating', 'failed', 'in_progress', 'cancelling',
        'expiring', 'completed', 'expired', 'cancelled')),
    CONSTRAINT file_batch_idempotency UNIQUE (tenant_id, idempotency_key)
);
CREATE INDEX file_batch_of_tenant ON file_batch (tenant_id, id);
CREATE INDEX file_batch_again ON file_batch (key_id, request_digest, created_at);
CREATE INDEX file_batch_live ON file_batch (created_at)
    WHERE state IN ('validating', 'in_progress', 'cancelling', 'expiring');
