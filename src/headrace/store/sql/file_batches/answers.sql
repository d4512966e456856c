-- Items with what their lines asked, and the facts of the call that made each, a page at a time.
SELECT item.idx, item.state, item.inputs ->> 'custom_id' AS custom_id,
    item.inputs -> 'body' ->> 'model' AS model, item.outputs, item.error, item.changed_at,
    made.facts
FROM item
LEFT JOIN LATERAL (
    SELECT attempt.facts FROM attempt
    WHERE attempt.batch_id = item.batch_id AND attempt.idx = item.idx
        AND attempt.state = 'succeeded'
    ORDER BY attempt.number DESC
    LIMIT 1
) AS made ON true
WHERE item.batch_id = $1 AND item.idx > $2
ORDER BY item.idx
LIMIT $3
