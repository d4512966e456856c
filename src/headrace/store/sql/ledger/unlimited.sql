UPDATE tenant SET unlimited = $2 WHERE id = $1 RETURNING id
