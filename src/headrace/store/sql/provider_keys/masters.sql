-- Under which master keys anything is sealed: keys of providers, and secrets of webhooks.
SELECT master_id, count(*) FILTER (WHERE is_key) AS keys, count(*) FILTER (WHERE NOT is_key) AS webhooks
FROM (
    SELECT master_id, true AS is_key FROM provider_key
    UNION ALL
    SELECT secret_master, false FROM webhook WHERE secret_master IS NOT NULL
) AS sealed
GROUP BY master_id
ORDER BY master_id
