INSERT INTO webhook_try (delivery_id, number, status, error, excerpt, duration_ms, at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
