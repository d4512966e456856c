SELECT number, status, error, excerpt, duration_ms, at
FROM webhook_try
WHERE delivery_id = $1
ORDER BY number
