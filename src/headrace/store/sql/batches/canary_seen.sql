-- What was seen of a batch's canary; rows that could not be read do not count. A rejected key is
-- told before a lane that is shut for it. What renews by itself is no reason to stop: it is waited for.
WITH first AS (
    SELECT item.idx, item.state, item.cached, item.cost_microusd, item.cost_estimate_microusd,
        item.error,
        coalesce(item.error ->> 'code', '') IN ('auth', 'quota_exhausted')
            AND coalesce(item.error ->> 'renews', '') <> 'true'
            AND item.state IN ('failed', 'waiting') AS is_fatal,
        (SELECT min(stage.value ->> 'why') FROM json_each(item.made) AS stage) AS moved
    FROM item
    JOIN batch ON batch.id = item.batch_id AND item.idx < batch.canary
    WHERE item.batch_id = $1 AND coalesce(item.error ->> 'code', '') <> 'invalid_input'
), calls AS (
    SELECT attempt.state, attempt.outcome, attempt.cost_microusd,
        attempt.cost_estimate_microusd, attempt.latency_ms
    FROM attempt
    JOIN batch ON batch.id = attempt.batch_id AND attempt.idx < batch.canary
    WHERE attempt.batch_id = $1
)
SELECT count(*) AS items,
    count(*) FILTER (WHERE state NOT IN ('pending', 'running', 'waiting')) AS ended,
    count(*) FILTER (WHERE state = 'waiting' AND is_fatal) AS shut,
    count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
    count(*) FILTER (WHERE state = 'succeeded' AND cached) AS cached,
    count(*) FILTER (WHERE is_fatal) AS fatal,
    count(*) FILTER (WHERE state = 'succeeded' AND NOT cached AND moved IS NOT NULL) AS moved,
    min(moved) FILTER (WHERE state = 'succeeded' AND NOT cached) AS moved_why,
    (SELECT count(*) FROM calls) AS calls,
    (SELECT count(*) FROM calls WHERE outcome IN ('rate_limited', 'overloaded')) AS refusals,
    (SELECT count(*) FROM calls WHERE state = 'succeeded'
        AND coalesce(cost_microusd, cost_estimate_microusd) IS NULL) AS calls_untold,
    coalesce(sum(cost_microusd), 0)::bigint AS cost_microusd,
    coalesce(sum(cost_estimate_microusd), 0)::bigint AS cost_estimate_microusd,
    (SELECT round(percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms))::integer
        FROM calls WHERE state = 'succeeded') AS latency_p50_ms,
    (SELECT error FROM first WHERE error IS NOT NULL AND state <> 'succeeded'
        ORDER BY is_fatal DESC, error ->> 'code' <> 'auth', idx LIMIT 1) AS error
FROM first
