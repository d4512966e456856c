INSERT INTO plan (name, class, weight, daily_items_max, batches_max, pixels_max, watermark,
    waiting_max, daily_microcredits_max, calls_max, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (name) DO UPDATE SET class = excluded.class, weight = excluded.weight,
    daily_items_max = excluded.daily_items_max, batches_max = excluded.batches_max,
    pixels_max = excluded.pixels_max, watermark = excluded.watermark,
    waiting_max = excluded.waiting_max, daily_microcredits_max = excluded.daily_microcredits_max,
    calls_max = excluded.calls_max
