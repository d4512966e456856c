-- Webhooks that go out. New tables only: the release before goes on beside it, but what its
-- workers do is told to nobody.

-- events: those that are wanted. old_secret signs as well until old_secret_until. failing_since:
-- the first of a row of failures; state 'disabled' has a reason.
CREATE TABLE webhook (
    id                uuid PRIMARY KEY,
    tenant_id         text NOT NULL REFERENCES tenant (id),
    url               text NOT NULL,
    events            text[] NOT NULL,
    secret            text NOT NULL,
    old_secret        text,
    old_secret_until  timestamptz,
    state             text NOT NULL DEFAULT 'enabled' CHECK (state IN ('enabled', 'disabled')),
    reason            text,
    failing_since     timestamptz,
    created_at        timestamptz NOT NULL
);
CREATE INDEX webhook_of_tenant ON webhook (tenant_id, id);

-- Events that a webhook wants, from the transaction of the event until they are packed. No
-- foreign keys: the transactions that settle items lock nothing of a webhook's.
CREATE TABLE webhook_outbox (
    webhook_id  uuid NOT NULL,
    batch_id    uuid NOT NULL,
    event       text NOT NULL,
    seq         bigint NOT NULL,
    idx         integer,
    code        text,
    counts      json,
    at          timestamptz NOT NULL,
    PRIMARY KEY (webhook_id, batch_id, event, seq)
);

-- One message to one webhook, the same bytes at every try. leased_until: somebody sends it now.
-- tries_before: those before a person asked for it once more.
CREATE TABLE webhook_delivery (
    id            uuid PRIMARY KEY,
    webhook_id    uuid NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    event         text NOT NULL,
    batch_id      uuid,
    body          text NOT NULL,
    state         text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'failed')),
    tries         integer NOT NULL DEFAULT 0,
    tries_before  integer NOT NULL DEFAULT 0,
    due_at        timestamptz NOT NULL,
    leased_until  timestamptz,
    created_at    timestamptz NOT NULL,
    ended_at      timestamptz
);
CREATE INDEX webhook_delivery_of ON webhook_delivery (webhook_id, id);
CREATE INDEX webhook_delivery_due ON webhook_delivery (webhook_id, due_at) WHERE state = 'pending';
CREATE INDEX webhook_delivery_age ON webhook_delivery (ended_at) WHERE state <> 'pending';

-- status: of the answer, null where there was none; error: why, where it was no success.
CREATE TABLE webhook_try (
    delivery_id  uuid NOT NULL REFERENCES webhook_delivery (id) ON DELETE CASCADE,
    number       integer NOT NULL,
    status       integer,
    error        text,
    excerpt      text,
    duration_ms  integer NOT NULL,
    at           timestamptz NOT NULL,
    PRIMARY KEY (delivery_id, number)
);
