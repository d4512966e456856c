-- Items whose lines have ended go on now.
UPDATE item SET due_at = $2
FROM provider_batch_line AS line
WHERE line.key = ANY($1::text[]) AND item.batch_id = line.batch_id AND item.idx = line.idx
    AND item.state = 'waiting' AND item.due_at > $2
    AND coalesce(item.error ->> 'code', '') = 'pending'
