-- Every artifact that a delivered item or the cache names is known.
WITH named AS (
    SELECT item.batch_id::text AS batch, item.idx, 'output ' || output.key AS place,
        decode(output.value ->> 'sha256', 'hex') AS sha256
    FROM item
    CROSS JOIN LATERAL json_each(item.outputs) AS output
    WHERE item.outputs IS NOT NULL
    UNION ALL
    SELECT NULL, NULL, 'cache entry ' || encode(fingerprint, 'hex'), sha256
    FROM cache_entry
    WHERE sha256 IS NOT NULL
)
SELECT named.batch, named.idx, named.place, 'artifact ' || encode(named.sha256, 'hex') AS expected,
    'none' AS found
FROM named
WHERE NOT EXISTS (SELECT FROM artifact WHERE artifact.sha256 = named.sha256)
ORDER BY named.batch, named.idx
LIMIT 1000
