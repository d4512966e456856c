SELECT state, count(*) AS items FROM item
WHERE batch_id = $1 AND state IN ('pending', 'waiting', 'unknown')
GROUP BY state
