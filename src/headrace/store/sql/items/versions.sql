-- Where items stand now, to tell whether a commit whose reply was lost went through.
SELECT item.batch_id, item.idx, item.version, item.attempts, item.state
FROM unnest($1::uuid[], $2::integer[]) AS told (batch_id, idx)
JOIN item ON item.batch_id = told.batch_id AND item.idx = told.idx
