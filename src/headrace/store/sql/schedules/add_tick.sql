-- A moment happens once: a second row for it is none.
INSERT INTO schedule_tick (schedule_id, at, state, told, by_hand, ended_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (schedule_id, at) DO NOTHING
RETURNING at
