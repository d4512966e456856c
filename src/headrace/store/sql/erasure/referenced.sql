-- Which of some artifacts are somebody's: an item's, the cache's (until a grace behind its time),
-- or named by a row that is still to run. Reads every item: it is asked for many at a time, rarely.
SELECT DISTINCT named.sha256
FROM (
    SELECT decode(output.value ->> 'sha256', 'hex') AS sha256
    FROM item
    CROSS JOIN LATERAL json_each(item.outputs) AS output
    WHERE item.outputs IS NOT NULL
    UNION ALL
    SELECT sha256 FROM cache_entry WHERE sha256 IS NOT NULL AND expires_at > $2
    UNION ALL
    SELECT decode(found.digest[1], 'hex')
    FROM item
    CROSS JOIN LATERAL regexp_matches(item.inputs::text, 'sha256:([0-9a-f]{64})', 'g')
        AS found (digest)
    WHERE item.state IN ('pending', 'running', 'waiting', 'unknown')
) AS named
WHERE named.sha256 = ANY($1::bytea[])
