-- Express shards: a few items that keep every tenant present at the gates, whoever fills the
-- queue. claimed_at tells how fast a batch's shards are done, and so how large the next ones get.
ALTER TABLE shard
    ADD COLUMN express boolean NOT NULL DEFAULT false,
    ADD COLUMN claimed_at timestamptz;
CREATE INDEX shard_pace ON shard (batch_id, done_at DESC) WHERE state = 'done';

-- The level of tenant.served_cost to which a tenant that comes back is lifted: one row.
CREATE TABLE cutting (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    level  bigint NOT NULL DEFAULT 0
);
INSERT INTO cutting DEFAULT VALUES;

-- What waits is looked for batch by batch, so that one with many due items hides no other.
DROP INDEX item_waiting;
CREATE INDEX item_waiting ON item (batch_id, due_at) WHERE state = 'waiting';
CREATE INDEX batch_live ON batch (created_at) WHERE state IN ('canary', 'running');
