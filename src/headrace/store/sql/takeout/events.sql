SELECT batch_id, seq, event.kind AS event, idx, data, at
FROM event
WHERE batch_id = $1 AND seq > $2
ORDER BY seq
LIMIT $3
