DELETE FROM file_batch WHERE id = $1
