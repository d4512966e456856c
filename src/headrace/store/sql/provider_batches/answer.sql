-- Write ends of lines down, once each.
UPDATE provider_batch_line AS line
SET state = told.state, status = told.status, answer = told.answer, reason = told.reason, body = NULL
FROM unnest($2::text[], $3::text[], $4::integer[], $5::bytea[], $6::text[])
    AS told (key, state, status, answer, reason)
WHERE line.provider_batch_id = $1 AND line.key = told.key AND line.state = 'sent'
RETURNING line.key
