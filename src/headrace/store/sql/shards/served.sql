UPDATE tenant SET served_cost = $2 WHERE id = $1
