SELECT number, stage, round, state, outcome, provider, lane, provider_request_id, cost_microusd,
    cost_estimate_microusd,    latency_ms, facts, error, started_at, ended_at
FROM attempt
WHERE batch_id = $1 AND idx = $2
ORDER BY number
