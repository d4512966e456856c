-- Count a crash against the items whose attempt was under way when the last holder died ($6: its
-- fence). Attempts of still earlier holders were counted then, and not touched since.
UPDATE item
SET crashes = item.crashes + 1, version = item.version + 1
FROM attempt
WHERE item.batch_id = $1 AND item.idx BETWEEN $2 AND $3 AND item.state = 'running'
    AND (item.shard_id = $4 OR (item.shard_id IS NULL AND $5::boolean))
    AND attempt.batch_id = item.batch_id AND attempt.idx = item.idx
    AND attempt.number = item.attempts AND attempt.state IN ('started', 'accepted')
    AND attempt.shard_id = $4 AND attempt.fence = $6
