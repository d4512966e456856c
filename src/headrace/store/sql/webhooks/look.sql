-- Whether a secret is kept plain, and how many endpoints wait for a master key not among $1.
SELECT
    EXISTS (
        SELECT FROM webhook
        WHERE secret_master IS NULL OR (old_secret IS NOT NULL AND old_secret_master IS NULL)
    ) AS is_plain,
    (SELECT count(*) FROM webhook
        WHERE state = 'enabled' AND secret_master <> ALL($1::text[])) AS unsigned
