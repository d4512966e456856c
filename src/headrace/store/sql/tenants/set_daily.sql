UPDATE tenant SET daily_microcredits_max = $2 WHERE id = $1
