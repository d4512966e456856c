DELETE FROM webhook_outbox WHERE batch_id = $1
