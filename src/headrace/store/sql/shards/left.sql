-- Whether a shard still has open items that nobody else will take: it is not done then.
SELECT EXISTS (
    SELECT FROM item
    WHERE item.batch_id = $1 AND item.idx BETWEEN $2 AND $3
        AND item.state IN ('pending', 'running')
        AND (item.shard_id = $4 OR (item.shard_id IS NULL AND $5::boolean))
)
