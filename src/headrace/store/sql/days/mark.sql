-- Items that are opened again count on another day from now on; their credits on $4.
UPDATE item SET day = $3, credit_day = $4 WHERE batch_id = $1 AND idx = ANY($2::integer[])
