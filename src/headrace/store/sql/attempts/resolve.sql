-- Close attempts whose answer was never seen and that another attempt now replaces.
UPDATE attempt
SET state = 'resolved', outcome = 'unknown', ended_at = $4
FROM unnest($1::uuid[], $2::integer[], $3::integer[]) AS told (batch_id, idx, number)
WHERE attempt.batch_id = told.batch_id AND attempt.idx = told.idx
    AND attempt.number = told.number AND attempt.state IN ('started', 'accepted', 'unknown')
