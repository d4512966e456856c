-- Hold the counts of these batches until commit, and read what of their money is spent or at risk.
SELECT batch_id, cost_microusd, cost_estimate_microusd, untold_microusd, in_flight_microusd
FROM batch_progress
WHERE batch_id = ANY($1::uuid[])
ORDER BY batch_id
FOR UPDATE
