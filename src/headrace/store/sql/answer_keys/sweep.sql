DELETE FROM answer_key
WHERE id IN (
    SELECT id FROM answer_key WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2
    FOR UPDATE SKIP LOCKED
)
