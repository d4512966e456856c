SELECT min(first.due_at)
FROM batch
JOIN batch_progress ON batch_progress.batch_id = batch.id AND batch_progress.waiting > 0
CROSS JOIN LATERAL (
    SELECT item.due_at FROM item
    WHERE item.batch_id = batch.id AND item.state = 'waiting'
    ORDER BY item.due_at
    LIMIT 1
) AS first
WHERE batch.state IN ('canary', 'running', 'finalizing')
