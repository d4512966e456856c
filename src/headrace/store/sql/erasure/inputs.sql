-- The rows of an ended batch, and what errors say of them; codes stay, for the audit.
UPDATE item
SET inputs = '{}', course = NULL, file = NULL,
    error = CASE WHEN error IS NULL THEN NULL ELSE json_build_object('code', error ->> 'code') END
WHERE batch_id = $1
