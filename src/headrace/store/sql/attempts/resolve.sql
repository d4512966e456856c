-- Close attempts whose answer was never seen and that another attempt now replaces. Where that one
-- goes on with the same purchase, nothing of the old one stays at risk ($5: it is a second one).
-- Returns by batch what leaves the sum in flight, and what enters, or leaves, that of untold costs.
WITH told AS (
    SELECT *
    FROM unnest($1::uuid[], $2::integer[], $3::integer[], $5::boolean[])
        AS told (batch_id, idx, number, repeats)
), resolved AS (
    UPDATE attempt
    SET state = 'resolved', ended_at = $4,
        outcome = CASE WHEN before.outcome IN ('pending', 'lost_result') THEN before.outcome
            ELSE 'unknown' END,
        at_risk_microusd = CASE WHEN told.repeats THEN before.at_risk_microusd ELSE 0 END
    FROM told
    JOIN attempt AS before ON before.batch_id = told.batch_id AND before.idx = told.idx
        AND before.number = told.number
    WHERE attempt.batch_id = told.batch_id AND attempt.idx = told.idx
        AND attempt.number = told.number AND attempt.state IN ('started', 'accepted', 'unknown')
    RETURNING attempt.batch_id, before.state = 'unknown' AS was_untold,
        before.at_risk_microusd AS was_microusd, attempt.at_risk_microusd AS is_microusd
)
SELECT batch_id,
    coalesce(sum(was_microusd) FILTER (WHERE NOT was_untold), 0)::bigint AS landed_microusd,
    coalesce(sum(CASE WHEN was_untold THEN is_microusd - was_microusd ELSE is_microusd END), 0)::bigint
        AS untold_microusd
FROM resolved
WHERE was_microusd <> 0
GROUP BY batch_id
