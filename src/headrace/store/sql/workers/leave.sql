UPDATE worker SET ended_at = $2 WHERE id = ANY($1::bigint[]) AND ended_at IS NULL
