-- What attempts tell of a request and its answer; what they cost and how they ended stays.
UPDATE attempt
SET fingerprint = '', provider_request_id = NULL, provider_url = NULL, facts = NULL,
    error = CASE WHEN error IS NULL THEN NULL ELSE json_build_object('code', error ->> 'code') END
WHERE batch_id = $1
