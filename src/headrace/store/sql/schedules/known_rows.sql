-- What became of rows that a schedule has had made; state is null where the item is gone.
SELECT known.digest, known.tries, item.state, item.attempts
FROM schedule_row AS known
LEFT JOIN item ON item.batch_id = known.batch_id AND item.idx = known.idx
WHERE known.schedule_id = $1 AND known.digest = ANY($2::bytea[])
