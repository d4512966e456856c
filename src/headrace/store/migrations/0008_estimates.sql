-- What list prices make of a call whose true cost its provider does not tell, apart from true costs.
-- cost_unknown counts calls that have neither. Only columns with defaults: the release before goes
-- on beside it; what it buys has no estimates, and it counts those of others against no cap.
ALTER TABLE attempt ADD COLUMN cost_estimate_microusd bigint CHECK (cost_estimate_microusd >= 0);
ALTER TABLE item
    ADD COLUMN cost_estimate_microusd bigint NOT NULL DEFAULT 0,
    ADD COLUMN cost_unknown integer NOT NULL DEFAULT 0;
ALTER TABLE batch_progress ADD COLUMN cost_estimate_microusd bigint NOT NULL DEFAULT 0;
