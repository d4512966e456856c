-- Every artifact that an item or the cache names is recorded.
WITH named AS (
    SELECT item.batch_id AS batch, item.idx + 1 AS row, output.key AS stage,
        decode(output.value ->> 'sha256', 'hex') AS sha256
    FROM item
    CROSS JOIN LATERAL json_each(item.outputs) AS output
    WHERE item.outputs IS NOT NULL
    UNION ALL
    SELECT NULL, NULL, NULL, sha256 FROM cache_entry WHERE sha256 IS NOT NULL
)
SELECT named.batch, named.row, named.stage, encode(named.sha256, 'hex') AS artifact
FROM named
WHERE NOT EXISTS (SELECT FROM artifact WHERE artifact.sha256 = named.sha256)
ORDER BY named.batch, named.row
LIMIT 1000
