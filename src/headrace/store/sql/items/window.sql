-- Items of a batch in row order behind a row index; $4 states and $5 outcomes, null is any.
SELECT idx, state, stage, round, attempts, crashes, cached, cost_microusd, spent_microcredits,
    cost_estimate_microusd, cost_unknown, file, inputs, outputs, made, error
FROM item
WHERE batch_id = $1 AND idx > $2
    AND ($4::text[] IS NULL OR state = ANY($4::text[]))
    AND ($5::text[] IS NULL OR error ->> 'code' = ANY($5::text[]))
ORDER BY idx
LIMIT $3
