-- What of the outboxes can be packed: ends of batches at once, items about a second after the first.
SELECT webhook_id, batch_id, event
FROM webhook_outbox
GROUP BY webhook_id, batch_id, event
HAVING min(at) <= $1 OR event LIKE 'batch.%' OR count(*) >= $2
ORDER BY min(at)
LIMIT $3
