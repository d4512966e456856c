-- Who resumes has set right what was missing: items that wait for a key, funds or a quota are due.
UPDATE item
SET due_at = $2
FROM batch
WHERE batch.id = $1 AND batch.state IN ('canary', 'running', 'paused') AND item.batch_id = batch.id
    AND item.state = 'waiting' AND item.due_at > $2
    AND coalesce(item.error ->> 'code', '') IN ('auth', 'quota_exhausted')
