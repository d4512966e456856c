UPDATE provider_batch SET lines = $2, tokens = $3, rescue_at = $4 WHERE id = $1
