-- Which of these batches nothing more comes of: they have ended, or are not there any more.
SELECT told.id
FROM unnest($1::uuid[]) AS told (id)
WHERE NOT EXISTS (
    SELECT FROM batch
    WHERE batch.id = told.id
        AND batch.state NOT IN ('completed', 'cancelled', 'expired', 'failed')
)
