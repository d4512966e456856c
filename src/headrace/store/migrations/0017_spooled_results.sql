-- Results that are paid for and wait on a worker's disk for the object store. A new table: the
-- release before goes on beside it, but does not look here before it buys after a crash.

-- One for each purchase: attempts that go on with it have the same key_number. place: whose
-- disk, for people; reply: cost, ids and facts, as the settle will need them.
CREATE TABLE spooled_result (
    batch_id    uuid NOT NULL REFERENCES batch (id) ON DELETE CASCADE,
    idx         integer NOT NULL,
    key_number  integer NOT NULL,
    sha256      bytea NOT NULL CHECK (octet_length(sha256) = 32),
    media_type  text NOT NULL,
    size_bytes  bigint NOT NULL CHECK (size_bytes >= 0),
    reply       json NOT NULL,
    place       text NOT NULL,
    spooled_at  timestamptz NOT NULL,
    PRIMARY KEY (batch_id, idx, key_number)
);
CREATE INDEX spooled_result_sha256 ON spooled_result (sha256);
