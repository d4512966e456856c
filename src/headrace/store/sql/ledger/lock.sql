-- Hold accounts until commit, in the one order in which move.sql takes them.
SELECT id FROM account WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE
