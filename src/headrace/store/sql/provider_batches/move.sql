-- Write a step of a provider batch down, unless another holds it by now.
UPDATE provider_batch
SET state = $3, next_at = $4, uploaded = coalesce($5, uploaded), remote_id = coalesce($6, remote_id),
    creating_at = CASE WHEN $3 = 'creating' AND state <> 'creating' THEN $7 ELSE creating_at END,
    sent_at = CASE WHEN $3 = 'sent' THEN coalesce(sent_at, $7) ELSE sent_at END,
    ended_at = CASE WHEN $3 = 'done' THEN $7 ELSE ended_at END,
    cancel_at = coalesce($8, cancel_at), reason = coalesce($9, reason)
WHERE id = $1 AND holder_id = $2 AND state <> 'done'
RETURNING id
