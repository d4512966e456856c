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
