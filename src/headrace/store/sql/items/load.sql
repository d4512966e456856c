-- The open items of a shard ($5: a range shard owns those that were never cut again), each with
-- its latest attempt where that one's answer was never seen. Repeats are purchases made anew (their
-- key is their own) after one whose answer was not seen.
SELECT item.idx, item.state, item.version, item.stage, item.round, item.tries, item.attempts,
    item.crashes, item.spent_microcredits, item.priced_microcredits, item.file, item.inputs, item.outputs,
    item.course, item.made, attempt.number, attempt.key_number, attempt.provider_request_id,
    attempt.provider_url, attempt.provider, attempt.lane, attempt.fingerprint, attempt.outcome,
    CASE WHEN attempt.number IS NOT NULL THEN (
        SELECT count(*) FROM attempt AS earlier
        JOIN attempt AS next ON next.batch_id = earlier.batch_id AND next.idx = earlier.idx
            AND next.number = earlier.number + 1
        WHERE earlier.batch_id = item.batch_id AND earlier.idx = item.idx
            AND earlier.round = item.round AND earlier.stage = item.stage
            AND earlier.number < item.attempts AND earlier.outcome IN ('unknown', 'lost_result')
            AND next.key_number = next.number
    ) END AS repeats
FROM item
LEFT JOIN attempt ON attempt.batch_id = item.batch_id AND attempt.idx = item.idx
    AND attempt.number = item.attempts AND attempt.round = item.round
    AND attempt.stage = item.stage AND attempt.state IN ('started', 'accepted', 'unknown')
WHERE item.batch_id = $1 AND item.idx BETWEEN $2 AND $3
    AND item.state IN ('pending', 'running')
    AND (item.shard_id = $4 OR (item.shard_id IS NULL AND $5::boolean))
ORDER BY item.idx
