-- What waits to be handed in, by provider and group: how much, and since when.
SELECT provider, line_group, count(*) AS lines, sum(body_bytes)::bigint AS bytes,
    min(created_at) AS first_at, max(created_at) AS last_at
FROM provider_batch_line
WHERE provider_batch_id IS NULL AND state = 'waiting'
GROUP BY provider, line_group
ORDER BY min(created_at)
