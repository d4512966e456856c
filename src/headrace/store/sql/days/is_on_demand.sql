SELECT on_demand FROM batch WHERE id = $1
