-- End attempts. What they put at risk is over once their cost is told or estimated, or nothing was
-- billed ($12: it was, or may have been); returns by batch what leaves the sum in flight, and what enters, or
-- leaves, the sum of untold costs.
WITH told AS (
    SELECT *
    FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[], $5::text[], $6::text[],
        $7::bigint[], $8::integer[], $9::text[], $10::text[], $12::boolean[],
        $13::bigint[])
        AS told (batch_id, idx, number, state, outcome, provider_request_id, cost_microusd,
            latency_ms, facts, error, untold, cost_estimate_microusd)
), ended AS (
    UPDATE attempt
    SET state = told.state, outcome = told.outcome,
        provider_request_id = coalesce(told.provider_request_id, attempt.provider_request_id),
        cost_microusd = told.cost_microusd,
        cost_estimate_microusd = told.cost_estimate_microusd, latency_ms = told.latency_ms,
        facts = told.facts::json, error = told.error::json, ended_at = $11,
        at_risk_microusd = CASE WHEN told.untold THEN before.at_risk_microusd ELSE 0 END
    FROM told
    JOIN attempt AS before ON before.batch_id = told.batch_id AND before.idx = told.idx
        AND before.number = told.number
    WHERE attempt.batch_id = told.batch_id AND attempt.idx = told.idx
        AND attempt.number = told.number AND attempt.state IN ('started', 'accepted', 'unknown')
    RETURNING attempt.batch_id, before.state = 'unknown' AS was_untold,
        before.at_risk_microusd AS was_microusd, attempt.at_risk_microusd AS is_microusd
)
SELECT batch_id,
    coalesce(sum(was_microusd) FILTER (WHERE NOT was_untold), 0)::bigint AS landed_microusd,
    coalesce(sum(CASE WHEN was_untold THEN is_microusd - was_microusd ELSE is_microusd END), 0)::bigint
        AS untold_microusd
FROM ended
WHERE was_microusd <> 0
GROUP BY batch_id
