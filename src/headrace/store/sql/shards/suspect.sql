-- Count a crash against the items whose attempt was under way when the last holder died ($6: its
-- fence). Attempts of still earlier holders were counted then, and not touched since. One whose
-- result had come and waited for the store killed nobody.
UPDATE item
SET crashes = item.crashes + 1, version = item.version + 1
FROM attempt
WHERE item.batch_id = $1 AND item.idx BETWEEN $2 AND $3 AND item.state = 'running'
    AND (item.shard_id = $4 OR (item.shard_id IS NULL AND $5::boolean))
    AND attempt.batch_id = item.batch_id AND attempt.idx = item.idx
    AND attempt.number = item.attempts AND attempt.state IN ('started', 'accepted')
    AND attempt.shard_id = $4 AND attempt.fence = $6
    AND NOT EXISTS (SELECT FROM spooled_result AS waits WHERE waits.batch_id = attempt.batch_id
        AND waits.idx = attempt.idx AND waits.key_number = attempt.key_number)
