-- Why items wait, and until when: the commonest reason first.
SELECT count(*) AS items, min(due_at) AS due_at, coalesce(error ->> 'code', 'retry') AS code,
    min(error ->> 'reason') AS reason
FROM item
WHERE batch_id = $1 AND state = 'waiting'
GROUP BY coalesce(error ->> 'code', 'retry')
ORDER BY count(*) DESC
