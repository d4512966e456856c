-- What is forgotten, and when. Only columns that may be null and new tables: the release before goes
-- on beside it, but does not keep what it puts in again from leaving in time: see docs/privacy.md.

-- When inputs, artifacts and events of an ended batch went; forgotten_at: all of it, on demand.
ALTER TABLE batch
    ADD COLUMN inputs_gone_at timestamptz,
    ADD COLUMN artifacts_gone_at timestamptz,
    ADD COLUMN events_gone_at timestamptz,
    ADD COLUMN forgotten_at timestamptz;
CREATE INDEX batch_ended ON batch (tenant_id, finished_at) WHERE finished_at IS NOT NULL;

-- doomed_at: somebody let go of it then; it leaves if nobody else has it. Keeping it anew takes it back.
ALTER TABLE artifact ADD COLUMN doomed_at timestamptz;
CREATE INDEX artifact_doomed ON artifact (doomed_at) WHERE doomed_at IS NOT NULL;

-- Bytes on their way out of the blob store: looked at when due, first set aside, then removed.
CREATE TABLE leaving_blob (
    sha256  bytea PRIMARY KEY CHECK (octet_length(sha256) = 32),
    due_at  timestamptz NOT NULL
);
CREATE INDEX leaving_blob_due ON leaving_blob (due_at);

-- A tenant's own days; null keeps for good. A tenant without a row has those of the settings.
CREATE TABLE retention (
    tenant_id       text PRIMARY KEY REFERENCES tenant (id),
    inputs_days     integer CHECK (inputs_days > 0),
    artifacts_days  integer CHECK (artifacts_days > 0),
    events_days     integer CHECK (events_days > 0)
);
