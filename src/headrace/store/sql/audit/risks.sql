-- What a batch has at risk is what its attempts have.
WITH summed AS (
    SELECT batch_id,
        sum(at_risk_microusd) FILTER (WHERE state IN ('started', 'accepted')) AS in_flight,
        sum(at_risk_microusd) FILTER (WHERE state NOT IN ('started', 'accepted')) AS untold
    FROM attempt
    WHERE at_risk_microusd <> 0
    GROUP BY batch_id
)
SELECT progress.batch_id AS batch, progress.in_flight_microusd AS in_flight,
    coalesce(summed.in_flight, 0) AS in_flight_of_attempts,
    progress.untold_microusd AS untold, coalesce(summed.untold, 0) AS untold_of_attempts
FROM batch_progress AS progress
LEFT JOIN summed ON summed.batch_id = progress.batch_id
WHERE progress.in_flight_microusd <> coalesce(summed.in_flight, 0)
    OR progress.untold_microusd <> coalesce(summed.untold, 0)
ORDER BY progress.batch_id
LIMIT 1000
