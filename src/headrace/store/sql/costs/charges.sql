-- What the calls of some batches cost in a period, by UTC day, provider, lane and how it is known.
SELECT attempt.batch_id, date_trunc('day', attempt.ended_at, 'UTC') AS day, attempt.provider,
    attempt.lane,
    CASE WHEN attempt.cost_microusd IS NOT NULL THEN 'told'
        WHEN attempt.cost_estimate_microusd IS NOT NULL THEN 'estimated'
        ELSE 'unknown' END AS basis,
    count(*) AS calls,
    sum(coalesce(attempt.cost_microusd, attempt.cost_estimate_microusd))::bigint AS cost_microusd
FROM attempt
WHERE attempt.batch_id = ANY($1::uuid[]) AND attempt.ended_at >= $2 AND attempt.ended_at < $3
    AND attempt.cost_microusd IS DISTINCT FROM 0
    AND (attempt.cost_microusd IS NOT NULL OR attempt.cost_estimate_microusd IS NOT NULL
        OR attempt.outcome IN ('success', 'unknown', 'lost_result', 'no_output', 'cancelled'))
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4, 5
