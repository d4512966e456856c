-- What only a person could shorten (a key, funds, a quota, a long wait for the rate), a person has
-- just looked at.
UPDATE item SET due_at = $2
WHERE batch_id = $1 AND state = 'waiting' AND due_at > $2
    AND (
        coalesce(error ->> 'code', '') IN ('auth', 'quota_exhausted')
        OR coalesce(error ->> 'renews', '') = 'true'
    )
