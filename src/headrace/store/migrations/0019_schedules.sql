-- Batches that are made on a schedule. New tables only: the release before goes on beside it,
-- but its workers make no batches on a schedule.

-- next_at: the next moment that was not looked at yet; null where the expression has none.
CREATE TABLE schedule (
    id          uuid PRIMARY KEY,
    tenant_id   text NOT NULL REFERENCES tenant (id),
    name        text NOT NULL,
    cron        text NOT NULL,
    timezone    text NOT NULL,
    recipe      text NOT NULL,
    source      json NOT NULL,
    settings    json NOT NULL,
    state       text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused')),
    next_at     timestamptz,
    created_at  timestamptz NOT NULL
);
CREATE UNIQUE INDEX schedule_name ON schedule (tenant_id, name);
CREATE INDEX schedule_next ON schedule (next_at) WHERE state = 'active';

-- One moment of a schedule: the row is what makes it happen once. told: counts, or the error.
-- has_windows: its batch runs in some hours only; shut_at: it was paused for their end.
CREATE TABLE schedule_tick (
    schedule_id  uuid NOT NULL REFERENCES schedule (id) ON DELETE CASCADE,
    at           timestamptz NOT NULL,
    by_hand      boolean NOT NULL DEFAULT false,
    state        text NOT NULL DEFAULT 'due'
        CHECK (state IN ('due', 'skipped', 'empty', 'made', 'failed')),
    tries        integer NOT NULL DEFAULT 0,
    batch_id     uuid,
    told         json,
    has_windows  boolean NOT NULL DEFAULT false,
    shut_at      timestamptz,
    ended_at     timestamptz,
    PRIMARY KEY (schedule_id, at)
);
CREATE INDEX schedule_tick_due ON schedule_tick (at) WHERE state = 'due';
CREATE INDEX schedule_tick_hours ON schedule_tick (batch_id) WHERE has_windows;
CREATE INDEX schedule_tick_age ON schedule_tick (ended_at) WHERE state <> 'due';

-- The rows that a schedule has had made, by a digest: which item a row became, and how often
-- it was tried.
CREATE TABLE schedule_row (
    schedule_id  uuid NOT NULL REFERENCES schedule (id) ON DELETE CASCADE,
    digest       bytea NOT NULL CHECK (octet_length(digest) = 16),
    batch_id     uuid NOT NULL,
    idx          integer NOT NULL,
    tries        integer NOT NULL DEFAULT 1,
    PRIMARY KEY (schedule_id, digest)
);
