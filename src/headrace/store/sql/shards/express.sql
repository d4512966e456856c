SELECT id FROM shard WHERE id = ANY($1::bigint[]) AND express
