UPDATE shard SET state = 'open' WHERE batch_id = $1 AND state = 'parked' RETURNING id
