SELECT item.due_at
FROM item
JOIN batch ON batch.id = item.batch_id AND batch.state IN ('canary', 'running')
WHERE item.state = 'waiting'
ORDER BY item.due_at
LIMIT 1
