INSERT INTO lane_pace (name, shape, state) VALUES ($1, $2, '') ON CONFLICT DO NOTHING
