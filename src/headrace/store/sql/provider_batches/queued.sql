-- The tokens of a group that are handed in and not answered yet.
SELECT coalesce(sum(line.tokens), 0)::bigint
FROM provider_batch_line AS line
JOIN provider_batch ON provider_batch.id = line.provider_batch_id
WHERE provider_batch.provider = $1 AND provider_batch.line_group = $2
    AND provider_batch.state <> 'done' AND line.state = 'sent'
