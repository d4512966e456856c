-- Items that are opened again count on another day from now on.
UPDATE item SET day = $3 WHERE batch_id = $1 AND idx = ANY($2::integer[])
