-- Take over what nobody holds, or one whose session is gone, held.
UPDATE provider_batch SET holder_id = $1
WHERE state <> 'done' AND (
    holder_id IS NULL
    OR (holder_id <> $1 AND pg_try_advisory_xact_lock(7262, holder_id::integer))
)
RETURNING id
