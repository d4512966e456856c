-- Of two processes that answer at once the first one's answer holds for both.
UPDATE answer_key SET told = coalesce(told, $2::json) WHERE id = $1 RETURNING told
