-- Ended lines whose items have gone on: nobody will ask for them again.
DELETE FROM provider_batch_line AS line
USING item
WHERE line.state IN ('answered', 'unexecuted', 'lost')
    AND item.batch_id = line.batch_id AND item.idx = line.idx
    AND NOT EXISTS (
        SELECT FROM attempt
        WHERE attempt.batch_id = line.batch_id AND attempt.idx = line.idx
            AND attempt.number = item.attempts
            AND attempt.state IN ('started', 'accepted', 'unknown')
    )
