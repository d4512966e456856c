-- Cancel what is not under way; returns the state that each item left, as it was at that moment.
-- An item whose job still runs at its provider is under way, though it rests here: whoever walks
-- it next has that job stopped, and settles at how it ended.
WITH old AS (
    SELECT item.idx, item.state FROM item
    WHERE item.batch_id = $1 AND item.state IN ('pending', 'waiting', 'unknown')
        AND (item.state = 'unknown' OR item.attempts = 0 OR NOT EXISTS (
            SELECT FROM attempt
            WHERE attempt.batch_id = item.batch_id AND attempt.idx = item.idx
                AND attempt.number = item.attempts AND attempt.round = item.round
                AND attempt.stage = item.stage AND attempt.state IN ('accepted', 'unknown')
                AND attempt.provider_request_id IS NOT NULL
                AND attempt.outcome IS DISTINCT FROM 'lost_result'
        ))
    ORDER BY item.idx
    FOR UPDATE OF item
)
UPDATE item
SET state = 'cancelled', due_at = NULL, version = item.version + 1, changed_at = $2
FROM old
WHERE item.batch_id = $1 AND item.idx = old.idx
RETURNING item.idx, item.round, old.state AS old_state
