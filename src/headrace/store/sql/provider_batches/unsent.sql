-- Lines that were never handed in and that nobody needs any more: their items are over, or have
-- what they wanted. Taken out, with their attempts' numbers.
DELETE FROM provider_batch_line AS line
USING item
WHERE line.state = 'waiting' AND line.provider_batch_id IS NULL
    AND item.batch_id = line.batch_id AND item.idx = line.idx
    AND (
        item.state IN ('succeeded', 'failed', 'refused', 'cancelled', 'dead')
        OR NOT EXISTS (
            SELECT FROM attempt
            WHERE attempt.batch_id = line.batch_id AND attempt.idx = line.idx
                AND attempt.number = item.attempts
                AND attempt.state IN ('started', 'accepted', 'unknown')
        )
    )
RETURNING line.batch_id, line.idx, item.attempts AS number
