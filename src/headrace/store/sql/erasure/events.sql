DELETE FROM event WHERE batch_id = $1
