-- Items that ended badly, gathered by what befell them: the commonest first.
SELECT count(*) AS items, state, min(idx) AS first_idx, coalesce(error ->> 'code', '') AS code,
    min(error ->> 'reason') AS reason, min(error ->> 'remedy') AS remedy
FROM item
WHERE batch_id = $1 AND state IN ('failed', 'refused', 'dead', 'unknown')
GROUP BY state, coalesce(error ->> 'code', ''), coalesce(error ->> 'remedy', '')
ORDER BY count(*) DESC, min(idx)
LIMIT $2
