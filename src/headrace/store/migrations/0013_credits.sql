-- The price book, what batches are priced by, and what a tenant's entries are found by. New tables,
-- and columns that may be null or have defaults: the release before goes on beside it, and charges
-- what the providers' settings name.

-- A rule holds from valid_from until a later one for the same kind and name; one with neither
-- credits nor a margin ends it. Rules are added, never changed: what a price was stays known.
CREATE TABLE price_rule (
    id                    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind                  text NOT NULL CHECK (kind IN ('model', 'recipe', 'provider', 'default')),
    name                  text NOT NULL,
    credits_microcredits  bigint CHECK (credits_microcredits >= 0),
    margin_ppm            bigint CHECK (margin_ppm >= 0),
    usd_microcredits      bigint NOT NULL CHECK (usd_microcredits >= 0),
    at_most_microcredits  bigint CHECK (at_most_microcredits >= 0),
    cached_microcredits   bigint NOT NULL CHECK (cached_microcredits >= 0),
    valid_from            timestamptz NOT NULL,
    created_at            timestamptz NOT NULL,
    CONSTRAINT price_rule_one CHECK (credits_microcredits IS NULL OR margin_ppm IS NULL),
    CONSTRAINT price_rule_default CHECK ((kind = 'default') = (name = ''))
);
CREATE INDEX price_rule_latest ON price_rule (kind, name, valid_from DESC, id DESC);
CREATE FUNCTION refuse_new_past() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the price book is append-only: % of a rule is refused', TG_OP
        USING HINT = 'Add a rule that holds from now on.';
END $$;
CREATE TRIGGER price_rule_append_only BEFORE UPDATE OR DELETE ON price_rule
    FOR EACH ROW EXECUTE FUNCTION refuse_new_past();

-- tariff: the rules that a batch was submitted under; null where none said anything.
ALTER TABLE batch ADD COLUMN tariff json;

-- How much of the recipe's fixed price is in spent_microcredits already: it is charged once.
ALTER TABLE item ADD COLUMN priced_microcredits bigint NOT NULL DEFAULT 0;

-- reference: what a grant is known by outside; of one reference there is one grant.
ALTER TABLE transfer ADD COLUMN reference text;
CREATE UNIQUE INDEX transfer_grants_once ON transfer (credit_account_id, reference)
    WHERE kind = 'grant' AND reference IS NOT NULL;

-- A tenant's entries in order. All but grants debit one of its accounts.
CREATE INDEX transfer_of_account ON transfer (debit_account_id, created_at, id);
CREATE INDEX transfer_grants ON transfer (credit_account_id, created_at, id) WHERE kind = 'grant';
