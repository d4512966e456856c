-- What is left of a batch that is forgotten: what the ledger and its audit refer to.
UPDATE batch
SET forgotten_at = $2, name = '', recipe_name = '', recipe = '{}', columns = NULL, source = '{}',
    pause = NULL, idempotency_key = NULL, request_digest = NULL
WHERE id = $1
