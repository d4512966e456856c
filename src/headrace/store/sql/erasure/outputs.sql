-- Let go of what an ended batch made; returns the hashes.
WITH named AS (
    SELECT DISTINCT decode(output.value ->> 'sha256', 'hex') AS sha256
    FROM item
    CROSS JOIN LATERAL json_each(item.outputs) AS output
    WHERE item.batch_id = $1 AND item.outputs IS NOT NULL
), gone AS (
    UPDATE item SET outputs = NULL, made = NULL
    WHERE batch_id = $1 AND (outputs IS NOT NULL OR made IS NOT NULL)
)
SELECT sha256 FROM named
