INSERT INTO batch_progress (batch_id, pending, failed) VALUES ($1, $2, $3)
