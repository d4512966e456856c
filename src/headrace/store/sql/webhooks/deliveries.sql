-- A webhook's messages, the latest first, those before $2, with how the latest try went.
SELECT delivery.id, delivery.event, delivery.batch_id, delivery.state, delivery.tries,
    delivery.due_at, delivery.created_at, delivery.ended_at,
    latest.status, latest.error, latest.duration_ms
FROM webhook_delivery AS delivery
LEFT JOIN webhook_try AS latest
    ON latest.delivery_id = delivery.id AND latest.number = delivery.tries
WHERE delivery.webhook_id = $1 AND ($2::uuid IS NULL OR delivery.id < $2)
ORDER BY delivery.id DESC
LIMIT $3
