-- Count a failure; $3: it has been failing since before then, or said that it is gone, with $4 why.
UPDATE webhook
SET failing_since = coalesce(failing_since, $2),
    state = CASE WHEN $5 OR failing_since <= $3 THEN 'disabled' ELSE state END,
    reason = CASE WHEN $5 OR failing_since <= $3 THEN $4 ELSE reason END
WHERE id = $1 AND state = 'enabled'
RETURNING state
