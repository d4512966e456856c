SELECT min(item.due_at)
FROM item JOIN batch ON batch.id = item.batch_id AND batch.state IN ('canary', 'running')
WHERE item.state = 'waiting'
