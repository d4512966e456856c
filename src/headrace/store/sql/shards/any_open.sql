SELECT EXISTS (SELECT FROM shard WHERE batch_id = $1 AND state = 'open')
