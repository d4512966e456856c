-- $3: the items before this row index run alone first; 0 for none. $4: set aside for each.
UPDATE batch
SET item_count = $2, canary = $3, reserve_microcredits = $4, state = CASE WHEN $3 > 0 THEN 'canary' ELSE state END
WHERE id = $1
