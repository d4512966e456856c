-- Nothing is still under way for an item that has ended.
SELECT attempt.batch_id::text AS batch, attempt.idx, 'attempt ' || attempt.number AS place,
    'ended' AS expected, attempt.state AS found
FROM attempt
JOIN item ON item.batch_id = attempt.batch_id AND item.idx = attempt.idx
WHERE attempt.state IN ('started', 'accepted')
    AND item.state NOT IN ('pending', 'running', 'waiting', 'unknown')
ORDER BY attempt.batch_id, attempt.idx, attempt.number
LIMIT 1000
