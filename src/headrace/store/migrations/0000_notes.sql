-- Facts about the schema itself that Alembic does not keep: which release of the queue
-- library last brought its own tables up to date.
CREATE TABLE schema_note (
    key   text PRIMARY KEY,
    value text NOT NULL
);
