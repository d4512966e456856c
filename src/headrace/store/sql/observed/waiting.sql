-- What waits outside of the queue, each looked at in an index of what is not over, and counted up
-- to $1.
SELECT
    (SELECT count(*) FROM (
        SELECT FROM webhook_delivery WHERE state = 'pending' LIMIT $1) AS one) AS webhook_messages,
    (SELECT count(*) FROM (SELECT FROM webhook_outbox LIMIT $1) AS one) AS webhook_events,
    (SELECT count(*) FROM provider_batch WHERE state <> 'done') AS provider_batches,
    (SELECT coalesce(sum(lines), 0)::bigint FROM provider_batch WHERE state <> 'done') AS lines_handed_in,
    (SELECT count(*) FROM (
        SELECT FROM provider_batch_line
        WHERE provider_batch_id IS NULL AND state = 'waiting' LIMIT $1) AS one) AS lines_waiting,
    (SELECT count(*) FROM worker WHERE ended_at IS NULL) AS workers
