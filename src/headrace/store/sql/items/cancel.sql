-- Cancel what is not under way; returns the state that each item left, as it was at that moment.
WITH old AS (
    SELECT idx, state FROM item
    WHERE batch_id = $1 AND state IN ('pending', 'waiting', 'unknown')
    ORDER BY idx
    FOR UPDATE
)
UPDATE item
SET state = 'cancelled', due_at = NULL, version = item.version + 1, changed_at = $2
FROM old
WHERE item.batch_id = $1 AND item.idx = old.idx
RETURNING item.idx, item.round, old.state AS old_state
