-- Take messages that are due, $3 at a time for each endpoint, for all processes together; $5 tells
-- endpoints that fail from those that do not, and $6 are the master keys that are here: what this
-- process cannot sign is left to others. Each taken one counts as a try from here on.
WITH room AS (
    SELECT webhook.id, $3 - (
        SELECT count(*) FROM webhook_delivery AS one
        WHERE one.webhook_id = webhook.id AND one.state = 'pending' AND one.leased_until > $1
    ) AS free
    FROM webhook
    WHERE webhook.state = 'enabled' AND (webhook.failing_since IS NOT NULL) = $5
        AND (webhook.secret_master IS NULL OR webhook.secret_master = ANY($6::text[]))
        AND (webhook.old_secret_until IS NULL OR webhook.old_secret_until <= $1
            OR webhook.old_secret_master IS NULL OR webhook.old_secret_master = ANY($6::text[]))
), chosen AS (
    SELECT due.id
    FROM room
    CROSS JOIN LATERAL (
        SELECT one.id, one.due_at FROM webhook_delivery AS one
        WHERE one.webhook_id = room.id AND one.state = 'pending' AND one.due_at <= $1
            AND (one.leased_until IS NULL OR one.leased_until <= $1)
        ORDER BY one.due_at
        LIMIT greatest(room.free, 0)
        FOR UPDATE SKIP LOCKED
    ) AS due
    ORDER BY due.due_at
    LIMIT $4
)
UPDATE webhook_delivery AS delivery
SET leased_until = $2, tries = delivery.tries + 1
FROM chosen, webhook
WHERE delivery.id = chosen.id AND webhook.id = delivery.webhook_id
RETURNING delivery.id, delivery.webhook_id, delivery.body, delivery.tries, delivery.tries_before,
    webhook.url, webhook.tenant_id, webhook.secret, webhook.secret_master,
    CASE WHEN webhook.old_secret_until > $1 THEN webhook.old_secret END AS old_secret,
    webhook.old_secret_master
