-- Open ended items again for another round, due at once.
UPDATE item
SET state = 'waiting', due_at = $3, round = round + $4::smallint, tries = 0, crashes = 0, course = NULL,
    shard_id = NULL,
    version = version + 1, changed_at = $3
WHERE batch_id = $1 AND state = ANY($2::text[])
    AND coalesce(error ->> 'code', '') <> 'invalid_input'
RETURNING idx
