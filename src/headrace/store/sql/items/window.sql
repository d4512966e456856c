-- Items of a batch in row order behind a row index; $4 states and $5 outcomes, null is any. States of
-- which the batch has no item are known by its counts: nothing is read of a million items to find none.
SELECT idx, state, stage, round, attempts, crashes, cached, cost_microusd, spent_microcredits,
    cost_estimate_microusd, cost_unknown, file, inputs, outputs, made, error
FROM item
WHERE batch_id = $1 AND idx > $2
    AND ($4::text[] IS NULL OR state = ANY($4::text[]))
    AND ($4::text[] IS NULL OR EXISTS (
        SELECT FROM batch_progress AS counts
        CROSS JOIN LATERAL (VALUES
            ('pending', counts.pending), ('running', counts.running), ('waiting', counts.waiting),
            ('unknown', counts.unknown), ('succeeded', counts.succeeded),
            ('failed', counts.failed), ('refused', counts.refused),
            ('cancelled', counts.cancelled), ('dead', counts.dead)
        ) AS counted (state, items)
        WHERE counts.batch_id = $1 AND counted.items > 0 AND counted.state = ANY($4::text[])
    ))
    AND ($5::text[] IS NULL OR error ->> 'code' = ANY($5::text[]))
ORDER BY idx
LIMIT $3
