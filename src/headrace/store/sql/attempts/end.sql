UPDATE attempt
SET state = told.state, outcome = told.outcome,
    provider_request_id = coalesce(told.provider_request_id, attempt.provider_request_id),
    cost_microusd = told.cost_microusd, latency_ms = told.latency_ms,
    facts = told.facts::json, error = told.error::json, ended_at = $11
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[], $5::text[], $6::text[],
    $7::bigint[], $8::integer[], $9::text[], $10::text[])
    AS told (batch_id, idx, number, state, outcome, provider_request_id, cost_microusd,
        latency_ms, facts, error)
WHERE attempt.batch_id = told.batch_id AND attempt.idx = told.idx
    AND attempt.number = told.number AND attempt.state IN ('started', 'accepted', 'unknown')
