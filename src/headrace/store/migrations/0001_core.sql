-- The durable state of headrace: tenants, ledger, batches, items, attempts, artifacts, cache,
-- shards, workers and events. Amounts are integers: micro-credits and micro-USD.

CREATE TABLE tenant (
    id                text PRIMARY KEY,
    name              text NOT NULL,
    unlimited         boolean NOT NULL DEFAULT false,
    weight            integer NOT NULL DEFAULT 1 CHECK (weight > 0),
    served_cost       bigint NOT NULL DEFAULT 0,
    created_at        timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE account (
    id                    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id             text REFERENCES tenant (id),
    kind                  text NOT NULL,
    balance_microcredits  bigint NOT NULL DEFAULT 0,
    CONSTRAINT account_kind CHECK (
        (tenant_id IS NOT NULL AND kind IN ('available', 'held'))
        OR (tenant_id IS NULL AND kind IN ('revenue', 'overrun', 'grants'))
    ),
    CONSTRAINT account_never_negative CHECK (
        kind NOT IN ('available', 'held') OR balance_microcredits >= 0
    ),
    CONSTRAINT account_once UNIQUE NULLS NOT DISTINCT (tenant_id, kind)
) WITH (fillfactor = 50);

CREATE TABLE batch (
    id                    uuid PRIMARY KEY,
    tenant_id             text NOT NULL REFERENCES tenant (id),
    name                  text NOT NULL,
    state                 text NOT NULL,
    class                 text NOT NULL DEFAULT 'batch' CHECK (class IN ('interactive', 'batch', 'bulk')),
    recipe_name           text NOT NULL,
    recipe_version        bytea NOT NULL,
    recipe                json NOT NULL,
    columns               json,
    cache_mode            text NOT NULL CHECK (cache_mode IN ('reuse', 'refresh', 'off')),
    unknown_policy        text NOT NULL CHECK (unknown_policy IN ('retry', 'hold', 'refund')),
    idempotency_key       text,
    request_digest        bytea,
    item_count            integer NOT NULL DEFAULT 0,
    cut_idx               integer NOT NULL DEFAULT 0,
    reserve_microcredits  bigint NOT NULL DEFAULT 0 CHECK (reserve_microcredits >= 0),
    source                json NOT NULL DEFAULT '{}',
    created_at            timestamptz NOT NULL,
    finished_at           timestamptz,
    CONSTRAINT batch_state CHECK (state IN ('validating', 'canary', 'running', 'paused',
        'finalizing', 'completed', 'cancelled', 'expired', 'failed')),
    CONSTRAINT batch_idempotency UNIQUE (tenant_id, idempotency_key)
);
CREATE INDEX batch_recent ON batch (tenant_id, created_at DESC);
CREATE INDEX batch_uncut ON batch (created_at)
    WHERE state IN ('canary', 'running') AND cut_idx < item_count;

-- One row per batch, written by every group commit: apart from batch, so that cancelling and
-- counting do not wait for each other. event_seq numbers the batch's events in commit order.
CREATE TABLE batch_progress (
    batch_id               uuid PRIMARY KEY REFERENCES batch (id) ON DELETE CASCADE,
    pending                integer NOT NULL DEFAULT 0,
    running                integer NOT NULL DEFAULT 0,
    waiting                integer NOT NULL DEFAULT 0,
    unknown                integer NOT NULL DEFAULT 0,
    succeeded              integer NOT NULL DEFAULT 0,
    failed                 integer NOT NULL DEFAULT 0,
    refused                integer NOT NULL DEFAULT 0,
    cancelled              integer NOT NULL DEFAULT 0,
    dead                   integer NOT NULL DEFAULT 0,
    cached                 integer NOT NULL DEFAULT 0,
    attempts               integer NOT NULL DEFAULT 0,
    repeats                integer NOT NULL DEFAULT 0,
    cost_microusd          bigint NOT NULL DEFAULT 0,
    cost_unknown           integer NOT NULL DEFAULT 0,
    spent_microcredits     bigint NOT NULL DEFAULT 0,
    event_seq              bigint NOT NULL DEFAULT 0,
    CONSTRAINT progress_counts CHECK (least(pending, running, waiting, unknown, succeeded,
        failed, refused, cancelled, dead, cached) >= 0)
) WITH (fillfactor = 30);

CREATE TABLE shard (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id     uuid NOT NULL REFERENCES batch (id) ON DELETE CASCADE,
    idx_from     integer NOT NULL,
    idx_to       integer NOT NULL,
    idxs         integer[],
    state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'parked', 'done')),
    fence        integer NOT NULL DEFAULT 0,
    worker_id    bigint,
    job_id       bigint,
    cut_at       timestamptz NOT NULL,
    done_at      timestamptz
);
CREATE INDEX shard_live ON shard (batch_id) WHERE state <> 'done';

CREATE TABLE item (
    batch_id            uuid NOT NULL REFERENCES batch (id) ON DELETE CASCADE,
    idx                 integer NOT NULL,
    state               text NOT NULL DEFAULT 'pending',
    version             integer NOT NULL DEFAULT 0,
    stage               smallint NOT NULL DEFAULT 0,
    round               smallint NOT NULL DEFAULT 1,
    tries               smallint NOT NULL DEFAULT 0,
    attempts            integer NOT NULL DEFAULT 0,
    crashes             smallint NOT NULL DEFAULT 0,
    cached              boolean NOT NULL DEFAULT false,
    shard_id            bigint,
    due_at              timestamptz,
    cost_microusd       bigint NOT NULL DEFAULT 0,
    spent_microcredits  bigint NOT NULL DEFAULT 0,
    file                text,
    inputs              json NOT NULL,
    outputs             json,
    error               json,
    changed_at          timestamptz,
    PRIMARY KEY (batch_id, idx),
    CONSTRAINT item_state CHECK (state IN ('pending', 'running', 'waiting', 'unknown',
        'succeeded', 'failed', 'refused', 'cancelled', 'dead')),
    CONSTRAINT item_due CHECK ((state = 'waiting') = (due_at IS NOT NULL))
) WITH (fillfactor = 75);
CREATE INDEX item_waiting ON item (due_at) WHERE state = 'waiting';

CREATE TABLE attempt (
    batch_id             uuid NOT NULL,
    idx                  integer NOT NULL,
    number               integer NOT NULL,
    key_number           integer NOT NULL,
    round                smallint NOT NULL,
    stage                smallint NOT NULL,
    state                text NOT NULL DEFAULT 'started',
    outcome              text,
    provider             text NOT NULL,
    lane                 text NOT NULL,
    fingerprint          bytea NOT NULL,
    shard_id             bigint NOT NULL,
    fence                integer NOT NULL,
    cost_max_microusd    bigint,
    provider_request_id  text,
    provider_url         text,
    cost_microusd        bigint,
    latency_ms           integer,
    facts                json,
    error                json,
    started_at           timestamptz NOT NULL,
    ended_at             timestamptz,
    PRIMARY KEY (batch_id, idx, number),
    FOREIGN KEY (batch_id) REFERENCES batch (id) ON DELETE CASCADE,
    CONSTRAINT attempt_state CHECK (state IN ('started', 'accepted', 'succeeded', 'failed',
        'refused', 'unknown', 'resolved'))
) WITH (fillfactor = 70);

CREATE TABLE artifact (
    sha256      bytea PRIMARY KEY CHECK (octet_length(sha256) = 32),
    media_type  text NOT NULL,
    size_bytes  bigint NOT NULL CHECK (size_bytes >= 0),
    body        bytea,
    created_at  timestamptz NOT NULL
);

-- A row is a finished result (sha256 set), a claim of the one who is buying it now
-- (claim_shard_id set), or both while a finished result is being refreshed.
CREATE TABLE cache_entry (
    tenant_id       text NOT NULL REFERENCES tenant (id),
    fingerprint     bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    sha256          bytea,
    media_type      text,
    size_bytes      bigint,
    facts           json,
    created_at      timestamptz,
    expires_at      timestamptz,
    claim_shard_id  bigint,
    claim_fence     integer,
    PRIMARY KEY (tenant_id, fingerprint)
) WITH (fillfactor = 70);
CREATE INDEX cache_expiry ON cache_entry (expires_at);

CREATE TABLE event (
    batch_id  uuid NOT NULL REFERENCES batch (id) ON DELETE CASCADE,
    seq       bigint NOT NULL,
    kind      text NOT NULL,
    idx       integer,
    data      json NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (batch_id, seq)
);

CREATE TABLE transfer (
    id                   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind                 text NOT NULL CHECK (kind IN ('grant', 'reserve', 'post', 'void', 'overrun')),
    debit_account_id     bigint NOT NULL REFERENCES account (id),
    credit_account_id    bigint NOT NULL REFERENCES account (id),
    amount_microcredits  bigint NOT NULL CHECK (amount_microcredits > 0),
    batch_id             uuid,
    idx                  integer,
    round                smallint,
    attempt              integer,
    reason               text NOT NULL,
    created_at           timestamptz NOT NULL,
    CONSTRAINT transfer_two_sides CHECK (debit_account_id <> credit_account_id)
);
CREATE UNIQUE INDEX transfer_settles_once ON transfer (batch_id, idx, round, kind)
    WHERE kind IN ('post', 'void');

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % of a transfer is refused', TG_OP
        USING HINT = 'Correct a mistake with a new transfer.';
END $$;
CREATE TRIGGER transfer_append_only BEFORE UPDATE OR DELETE ON transfer
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER transfer_no_truncate BEFORE TRUNCATE ON transfer
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE worker (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host        text NOT NULL,
    pid         integer NOT NULL,
    version     text NOT NULL,
    shards_held integer NOT NULL,
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz
);

INSERT INTO tenant (id, name, unlimited) VALUES ('default', 'default', true);
INSERT INTO account (tenant_id, kind) VALUES
    ('default', 'available'), ('default', 'held'),
    (NULL, 'revenue'), (NULL, 'overrun'), (NULL, 'grants');
