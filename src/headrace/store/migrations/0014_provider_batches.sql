-- Batches at providers: lines (one request of one item each) that wait to be handed in, those that
-- were, and their answers until the items have taken them. A line is known by the call's key.
ALTER TABLE batch ADD COLUMN deadline_at timestamptz;

CREATE TABLE provider_batch (
    id           uuid PRIMARY KEY,
    provider     text NOT NULL,
    line_group   text NOT NULL,
    state        text NOT NULL CHECK (state IN ('gathered', 'uploaded', 'creating', 'sent',
        'reading', 'done')),
    lines        integer NOT NULL,
    tokens       bigint NOT NULL,
    rescue_at    timestamptz NOT NULL,
    uploaded     text,
    remote_id    text,
    reason       text,
    cancel_at    timestamptz,
    holder_id    bigint,
    next_at      timestamptz NOT NULL,
    created_at   timestamptz NOT NULL,
    creating_at  timestamptz,
    sent_at      timestamptz,
    ended_at     timestamptz
);
CREATE INDEX provider_batch_live ON provider_batch (next_at) WHERE state <> 'done';

CREATE TABLE provider_batch_line (
    key                text PRIMARY KEY,
    provider_batch_id  uuid REFERENCES provider_batch (id),
    tenant_id          text NOT NULL,
    batch_id           uuid NOT NULL REFERENCES batch (id) ON DELETE CASCADE,
    idx                integer NOT NULL,
    fingerprint        bytea NOT NULL,
    provider           text NOT NULL,
    line_group         text NOT NULL,
    state              text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent',
        'answered', 'unexecuted', 'lost')),
    body               bytea,
    body_bytes         integer NOT NULL,
    tokens             integer NOT NULL,
    rescue_at          timestamptz NOT NULL,
    status             integer,
    answer             bytea,
    reason             text,
    created_at         timestamptz NOT NULL
);
CREATE INDEX provider_batch_line_free ON provider_batch_line (provider, line_group, created_at)
    WHERE provider_batch_id IS NULL AND state = 'waiting';
CREATE INDEX provider_batch_line_of ON provider_batch_line (provider_batch_id);
CREATE INDEX provider_batch_line_item ON provider_batch_line (batch_id, idx);
-- Of what is bought by a line already, nobody buys a second.
CREATE UNIQUE INDEX provider_batch_line_once ON provider_batch_line (tenant_id, fingerprint)
    WHERE state IN ('waiting', 'sent', 'answered');

-- Items that wait for the same purchase as a line's.
CREATE TABLE provider_batch_wait (
    batch_id  uuid NOT NULL REFERENCES batch (id) ON DELETE CASCADE,
    idx       integer NOT NULL,
    key       text NOT NULL,
    PRIMARY KEY (batch_id, idx)
);
CREATE INDEX provider_batch_wait_of ON provider_batch_wait (key);
