-- Plans, and what a tenant has of them: a plan, a timezone, a state. Everything new has a default
-- that limits nothing, so that the release before goes on; what it writes is not counted.

-- class: the best that its batches may have. *_max and watermark: NULL is none. batches_max are
-- batches at a time, pixels_max those that a request may name, waiting_max requests on demand.
CREATE TABLE plan (
    name             text PRIMARY KEY,
    class            text NOT NULL DEFAULT 'interactive'
        CHECK (class IN ('interactive', 'batch', 'bulk')),
    weight           integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 100),
    daily_items_max  bigint CHECK (daily_items_max >= 0),
    batches_max      integer CHECK (batches_max >= 0),
    pixels_max       bigint CHECK (pixels_max > 0),
    watermark        text CHECK (watermark <> ''),
    waiting_max      integer CHECK (waiting_max >= 0),
    created_at       timestamptz NOT NULL DEFAULT now()
);
INSERT INTO plan (name) VALUES ('default');

-- weight of tenant is no longer read: a plan has it.
ALTER TABLE tenant
    ADD COLUMN plan text NOT NULL DEFAULT 'default' REFERENCES plan (name),
    ADD COLUMN timezone text NOT NULL DEFAULT 'UTC',
    ADD COLUMN state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    ADD COLUMN state_reason text;

-- How many items of a tenant count on one of its days: the items of which item.day is that day.
CREATE TABLE tenant_day (
    tenant_id  text NOT NULL REFERENCES tenant (id),
    day        date NOT NULL,
    items      bigint NOT NULL CHECK (items >= 0),
    PRIMARY KEY (tenant_id, day)
) WITH (fillfactor = 50);
ALTER TABLE item ADD COLUMN day date;

-- on_demand: a batch of one item that somebody waits for; it counts as waiting, not as a batch.
ALTER TABLE batch ADD COLUMN on_demand boolean NOT NULL DEFAULT false;
CREATE INDEX batch_of_tenant_live ON batch (tenant_id)
    WHERE state IN ('validating', 'canary', 'running', 'paused', 'finalizing');

-- replaced_by: the key that this one was rotated to.
ALTER TABLE api_key
    ADD COLUMN last_used_at timestamptz,
    ADD COLUMN replaced_by uuid;

-- Keys of providers, sealed with AES-256-GCM under the master key that master_id names. tenant_id
-- NULL: everybody's who has none. body: the nonce, then what was sealed.
CREATE TABLE provider_key (
    tenant_id   text REFERENCES tenant (id),
    provider    text NOT NULL,
    id          uuid NOT NULL UNIQUE,
    master_id   text NOT NULL,
    body        bytea NOT NULL,
    created_at  timestamptz NOT NULL,
    CONSTRAINT provider_key_once UNIQUE NULLS NOT DISTINCT (tenant_id, provider)
);

-- Whose an artifact is: of every tenant for which it was made. A row may name no other.
CREATE TABLE artifact_owner (
    tenant_id  text NOT NULL REFERENCES tenant (id),
    sha256     bytea NOT NULL CHECK (octet_length(sha256) = 32),
    PRIMARY KEY (tenant_id, sha256)
);
INSERT INTO artifact_owner (tenant_id, sha256)
SELECT batch.tenant_id, decode(made.value ->> 'sha256', 'hex')
FROM item
JOIN batch ON batch.id = item.batch_id
CROSS JOIN LATERAL json_each(item.outputs) AS made
WHERE item.outputs IS NOT NULL
UNION
SELECT tenant_id, sha256 FROM cache_entry WHERE sha256 IS NOT NULL;
