-- Items that wait for the same purchase as lines that are gone by now go on.
WITH gone AS (
    DELETE FROM provider_batch_wait AS other
    WHERE NOT EXISTS (
        SELECT FROM provider_batch_line AS line
        WHERE line.key = other.key AND line.state IN ('waiting', 'sent', 'answered')
    )
    RETURNING batch_id, idx
)
UPDATE item SET due_at = $1
FROM gone
WHERE item.batch_id = gone.batch_id AND item.idx = gone.idx AND item.state = 'waiting'
    AND item.due_at > $1 AND coalesce(item.error ->> 'code', '') = 'pending'
RETURNING item.idx
