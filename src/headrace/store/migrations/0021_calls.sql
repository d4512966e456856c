-- A cap on the calls that a tenant has in flight in each lane; NULL: none. The release before knows
-- none and hands out permits as if there were none, in lanes of its own state.

-- rolling: expands

ALTER TABLE plan ADD COLUMN calls_max integer CHECK (calls_max > 0);
