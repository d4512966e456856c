UPDATE attempt
SET state = 'accepted', provider_request_id = told.provider_request_id,
    provider_url = told.provider_url
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[], $5::text[])
    AS told (batch_id, idx, number, provider_request_id, provider_url)
WHERE attempt.batch_id = told.batch_id AND attempt.idx = told.idx
    AND attempt.number = told.number AND attempt.state IN ('started', 'accepted')
