INSERT INTO schedule_row (schedule_id, digest, batch_id, idx, tries)
SELECT $1, told.digest, $2, told.number - 1, told.tries
FROM unnest($3::bytea[], $4::integer[]) WITH ORDINALITY AS told (digest, tries, number)
ON CONFLICT (schedule_id, digest) DO UPDATE
SET batch_id = excluded.batch_id, idx = excluded.idx, tries = excluded.tries
