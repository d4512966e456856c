-- Guards of a batch: its first items may run alone (canary), its true cost may have a cap, and a
-- pause says why. Only columns with defaults: the release before goes on beside it, but what it
-- buys stands under no cap.

-- canary: the items before this row index run alone first, 0 for none. pause: why and what to do,
-- {"code", "reason", "remedy"}, null unless paused.
ALTER TABLE batch
    ADD COLUMN canary integer NOT NULL DEFAULT 0 CHECK (canary >= 0),
    ADD COLUMN look_first boolean NOT NULL DEFAULT false,
    ADD COLUMN cost_cap_microusd bigint CHECK (cost_cap_microusd >= 0),
    ADD COLUMN pause json;

-- What the guards look at again and again.
CREATE INDEX batch_guarded ON batch (id)
    WHERE state = 'canary' OR (state = 'running' AND cost_cap_microusd IS NOT NULL);

-- in_flight: the worst case of the calls under way; untold: of those that ended without telling a
-- cost and may have been billed. short: the worst case of a call for which the cap had no room.
ALTER TABLE batch_progress
    ADD COLUMN in_flight_microusd bigint NOT NULL DEFAULT 0,
    ADD COLUMN untold_microusd bigint NOT NULL DEFAULT 0,
    ADD COLUMN short_microusd bigint;

-- The attempt's part in those sums: its worst case while nobody knows what it really cost.
ALTER TABLE attempt ADD COLUMN at_risk_microusd bigint NOT NULL DEFAULT 0;
