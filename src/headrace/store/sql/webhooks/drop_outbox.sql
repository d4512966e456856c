-- What waits for webhooks that are gone, or that take nothing any more.
DELETE FROM webhook_outbox AS left_over
WHERE NOT EXISTS (
    SELECT FROM webhook WHERE webhook.id = left_over.webhook_id AND webhook.state = 'enabled'
)
