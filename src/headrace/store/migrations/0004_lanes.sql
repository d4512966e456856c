-- What lanes have learned and how they do, and the pacing state that workers share. New tables
-- only: the release before goes on beside it, learning for itself.

-- learned: in words, see learned.py; live: a summary that working processes write every few
-- seconds, for people. Neither is needed for anything to be right.
CREATE TABLE lane (
    name        text PRIMARY KEY,
    learned     json,
    learned_at  timestamptz,
    live        json,
    live_at     timestamptz
);

-- One small row for each lane, stepped many times a second by whoever holds its lock. Unlogged:
-- a crash of the server empties it, and the lane then starts from what it has learned. A few
-- kilobytes stay in the row itself, uncompressed, with room in the page for the next version.
-- shape: the fields of the state as a release knows them. Two releases at a time each have a row
-- of their own, and are to each other like other users of the provider.
CREATE UNLOGGED TABLE lane_pace (
    name     text,
    shape    text,
    version  bigint NOT NULL DEFAULT 0,
    state    bytea NOT NULL,
    PRIMARY KEY (name, shape)
) WITH (fillfactor = 30, toast_tuple_target = 8160);
ALTER TABLE lane_pace ALTER COLUMN state SET STORAGE EXTERNAL;

-- Names the workers of lanes, by the session lock that shows them to be alive.
CREATE SEQUENCE lane_member AS integer CYCLE;
