-- A cap on the credits of a tenant's day, and grants that end. New columns may be null or have
-- defaults; what the release before writes is not counted on a day, and what it gives back counts
-- on until that day is over.

ALTER TABLE plan ADD COLUMN daily_microcredits_max bigint CHECK (daily_microcredits_max >= 0);

-- The tenant's own cap; NULL: its plan's.
ALTER TABLE tenant ADD COLUMN daily_microcredits_max bigint CHECK (daily_microcredits_max >= 0);

-- What counts on the day: reserves of open items, and what was posted of those that are delivered,
-- of the items of which item.credit_day is that day.
ALTER TABLE tenant_day
    ADD COLUMN microcredits bigint NOT NULL DEFAULT 0 CHECK (microcredits >= 0);
ALTER TABLE item ADD COLUMN credit_day date;

-- A grant may end; what has not been spent of it then goes back, as an entry of its own kind.
ALTER TABLE transfer ADD COLUMN expires_at timestamptz;
ALTER TABLE transfer DROP CONSTRAINT transfer_kind_check;
ALTER TABLE transfer ADD CONSTRAINT transfer_kind_check
    CHECK (kind IN ('grant', 'reserve', 'post', 'void', 'overrun', 'expire')) NOT VALID;

-- What is left of a grant that ends, and of that what is held; a row goes when nothing is left.
CREATE TABLE credit_lot (
    grant_id                bigint PRIMARY KEY REFERENCES transfer (id),
    tenant_id               text NOT NULL REFERENCES tenant (id),
    expires_at              timestamptz NOT NULL,
    available_microcredits  bigint NOT NULL CHECK (available_microcredits >= 0),
    held_microcredits       bigint NOT NULL CHECK (held_microcredits >= 0)
);
CREATE INDEX credit_lot_of_tenant ON credit_lot (tenant_id, expires_at);
CREATE INDEX credit_lot_due ON credit_lot (expires_at);

-- The balances of a tenant for which its lots were true; there is a row while it has lots.
CREATE TABLE purse (
    tenant_id               text PRIMARY KEY REFERENCES tenant (id),
    available_microcredits  bigint NOT NULL,
    held_microcredits       bigint NOT NULL
);

-- The master key under which a webhook's secret is sealed; NULL: it is plain, as the release before
-- keeps it. That release cannot sign with a sealed one: the tries that it makes are not taken.
ALTER TABLE webhook ADD COLUMN secret_master text, ADD COLUMN old_secret_master text;
CREATE INDEX webhook_plain ON webhook (id)
    WHERE secret_master IS NULL OR (old_secret IS NOT NULL AND old_secret_master IS NULL);
