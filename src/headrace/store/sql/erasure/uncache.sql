-- The cached results of a batch: by what its attempts asked for, and by what its items were given.
DELETE FROM cache_entry AS entry
WHERE entry.tenant_id = (SELECT tenant_id FROM batch WHERE id = $1)
    AND entry.claim_shard_id IS NULL
    AND (
        entry.fingerprint IN (SELECT fingerprint FROM attempt WHERE batch_id = $1)
        OR entry.sha256 IN (
            SELECT decode(output.value ->> 'sha256', 'hex')
            FROM item
            CROSS JOIN LATERAL json_each(item.outputs) AS output
            WHERE item.batch_id = $1 AND item.outputs IS NOT NULL
        )
    )
RETURNING entry.sha256, entry.tenant_id
