SELECT delivery.id, delivery.event, delivery.batch_id, delivery.state, delivery.tries,
    delivery.due_at, delivery.created_at, delivery.ended_at, delivery.body
FROM webhook_delivery AS delivery
JOIN webhook ON webhook.id = delivery.webhook_id
WHERE webhook.tenant_id = $1 AND webhook.id = $2 AND delivery.id = $3
