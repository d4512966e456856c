-- Whether a secret is kept plain, how many endpoints wait for a master key not among $1, and which.
SELECT
    EXISTS (
        SELECT FROM webhook
        WHERE secret_master IS NULL OR (old_secret IS NOT NULL AND old_secret_master IS NULL)
    ) AS is_plain,
    count(*) AS unsigned,
    array_agg(DISTINCT secret_master ORDER BY secret_master) AS missing
FROM webhook
WHERE state = 'enabled' AND secret_master <> ALL($1::text[])
