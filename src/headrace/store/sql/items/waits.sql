-- Why items wait, and until when. What nobody can shorten but a person (a key, funds, a quota, a long
-- wait for the rate) comes first. A shut lane is told apart by its words; of the rest, and of
-- refusals for the rate, of which each names its own wait, one reason.
WITH waiting AS (
    SELECT due_at, coalesce(error ->> 'code', 'retry') AS code, error ->> 'reason' AS reason,
        error ->> 'remedy' AS remedy,
        coalesce(error ->> 'code', '') IN ('auth', 'quota_exhausted') AS is_shut,
        coalesce(error ->> 'renews', '') = 'true' AS renews
    FROM item
    WHERE batch_id = $1 AND state = 'waiting'
)
SELECT count(*) AS items, min(due_at) AS due_at, code, min(reason) AS reason,
    min(remedy) AS remedy
FROM waiting
GROUP BY code, is_shut, renews, CASE WHEN is_shut THEN reason END
ORDER BY is_shut OR renews DESC, count(*) DESC, code
LIMIT 20
