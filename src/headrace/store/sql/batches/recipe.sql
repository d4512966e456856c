SELECT recipe FROM batch WHERE id = $1
