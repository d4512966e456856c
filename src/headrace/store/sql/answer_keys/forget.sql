DELETE FROM answer_key WHERE id = $1 AND told IS NULL
