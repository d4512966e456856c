SELECT id, provider, line_group, state, lines, rescue_at, uploaded, remote_id, cancel_at, created_at,
    creating_at, sent_at
FROM provider_batch
WHERE holder_id = $1 AND state <> 'done' AND next_at <= $2
ORDER BY next_at
LIMIT 100
