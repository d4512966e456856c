-- A message for a webhook, if it is still there.
INSERT INTO webhook_delivery (id, webhook_id, event, batch_id, body, due_at, created_at)
SELECT $1, webhook.id, $3, $4, $5, $6, $6
FROM webhook
WHERE webhook.id = $2
