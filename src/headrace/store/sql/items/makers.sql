-- Which models made the artifacts of delivered items, and why others than the first were asked.
SELECT stage.key AS stage, stage.value ->> 'provider' AS provider, stage.value ->> 'model' AS model,
    stage.value ->> 'why' AS why, count(*) AS items
FROM item
CROSS JOIN LATERAL json_each(item.made) AS stage
WHERE item.batch_id = $1 AND item.state = 'succeeded'
GROUP BY 1, 2, 3, 4
ORDER BY 1, 5 DESC, 2, 3, 4
LIMIT 100
