SELECT state FROM file_batch WHERE id = $1 FOR UPDATE
