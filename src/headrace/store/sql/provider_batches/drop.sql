DELETE FROM provider_batch WHERE id = $1 AND state = 'gathered' AND lines = 0
