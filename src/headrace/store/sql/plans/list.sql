SELECT name, class AS class_name, weight, daily_items_max, batches_max, pixels_max, watermark,
    waiting_max, daily_microcredits_max, calls_max
FROM plan
WHERE name = $1 OR $1 IS NULL
ORDER BY name
