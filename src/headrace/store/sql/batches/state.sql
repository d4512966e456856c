SELECT state FROM batch WHERE id = $1
