-- Open ended items again for another round, due at once; $5 to $8 choose among them, null is any:
-- row indexes, outcomes, the stage that they stand at, the provider of the latest attempt.
UPDATE item
SET state = 'waiting', due_at = $3, round = round + $4::smallint, tries = 0, crashes = 0, course = NULL,
    shard_id = NULL,
    version = version + 1, changed_at = $3
WHERE batch_id = $1 AND state = ANY($2::text[])
    AND coalesce(error ->> 'code', '') <> 'invalid_input'
    AND ($5::integer[] IS NULL OR idx = ANY($5::integer[]))
    AND ($6::text[] IS NULL OR error ->> 'code' = ANY($6::text[]))
    AND ($7::smallint IS NULL OR stage = $7::smallint)
    AND ($8::text IS NULL OR EXISTS (
        SELECT FROM attempt
        WHERE attempt.batch_id = item.batch_id AND attempt.idx = item.idx
            AND attempt.number = item.attempts AND attempt.provider = $8::text
    ))
RETURNING idx
