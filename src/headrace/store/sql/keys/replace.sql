-- End a good key that was not replaced before, at $3 or when it would have ended.
UPDATE api_key SET replaced_by = $2, expires_at = least(expires_at, $3)
WHERE id = $1 AND replaced_by IS NULL AND revoked_at IS NULL
    AND (expires_at IS NULL OR expires_at > $4)
RETURNING id
