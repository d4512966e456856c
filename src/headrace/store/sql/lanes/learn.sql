INSERT INTO lane (name, learned, learned_at, live, live_at)
SELECT name, learned::json, CASE WHEN learned IS NOT NULL THEN $4::timestamptz END, live::json, $4
FROM unnest($1::text[], $2::text[], $3::text[]) AS told (name, learned, live)
ON CONFLICT (name) DO UPDATE SET
    learned = coalesce(excluded.learned, lane.learned),
    learned_at = coalesce(excluded.learned_at, lane.learned_at),
    live = excluded.live,
    live_at = excluded.live_at
