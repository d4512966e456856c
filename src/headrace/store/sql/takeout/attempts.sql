SELECT batch_id, idx, number, round, stage, state, outcome, provider, lane, fingerprint,
    provider_request_id, cost_microusd, cost_estimate_microusd, latency_ms, facts, error, started_at,
    ended_at
FROM attempt
WHERE batch_id = $1 AND (idx, number) > ($2, $3)
ORDER BY idx, number
LIMIT $4
