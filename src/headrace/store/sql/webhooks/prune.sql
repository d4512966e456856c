-- Messages that ended before $1 leave the log, some at a time.
DELETE FROM webhook_delivery
WHERE id IN (
    SELECT id FROM webhook_delivery WHERE state <> 'pending' AND ended_at < $1 LIMIT 5000
)
