-- Give the oldest free lines of a group to a provider batch: no more lines, bytes or tokens than
-- fit, one line at least.
WITH free AS (
    SELECT key, body_bytes, tokens, rescue_at, created_at
    FROM provider_batch_line
    WHERE provider = $2 AND line_group = $3 AND provider_batch_id IS NULL AND state = 'waiting'
    ORDER BY created_at, key
    LIMIT $4
    FOR UPDATE SKIP LOCKED
), fitting AS (
    SELECT key, row_number() OVER told AS place, sum(body_bytes + $7::integer) OVER told AS bytes,
        sum(tokens) OVER told AS tokens
    FROM free
    WINDOW told AS (ORDER BY created_at, key)
), given AS (
    UPDATE provider_batch_line AS line
    SET provider_batch_id = $1, state = 'sent'
    FROM fitting
    WHERE line.key = fitting.key
        AND (fitting.place = 1 OR (fitting.bytes <= $5 AND ($6::bigint IS NULL OR fitting.tokens <= $6)))
    RETURNING line.tokens, line.rescue_at
)
SELECT count(*)::integer AS lines, coalesce(sum(tokens), 0)::bigint AS tokens,
    min(rescue_at) AS rescue_at
FROM given
