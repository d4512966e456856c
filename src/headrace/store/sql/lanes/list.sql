SELECT name, learned, learned_at, live, live_at FROM lane ORDER BY name
