SELECT on_demand, reserve_microcredits FROM batch WHERE id = $1
