UPDATE shard SET state = 'done', done_at = $3
WHERE id = $1 AND fence = $2 AND state = 'open'
RETURNING id
