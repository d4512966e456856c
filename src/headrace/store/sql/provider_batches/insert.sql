INSERT INTO provider_batch (id, provider, line_group, state, lines, tokens, rescue_at, holder_id,
    next_at, created_at)
VALUES ($1, $2, $3, 'gathered', 0, 0, $4, $5, $4, $4)
