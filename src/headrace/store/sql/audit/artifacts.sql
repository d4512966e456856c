SELECT item.batch_id AS batch, item.idx + 1 AS row, output.key AS stage
FROM item
CROSS JOIN LATERAL json_each(item.outputs) AS output
LEFT JOIN artifact ON artifact.sha256 = decode(output.value ->> 'sha256', 'hex')
WHERE item.state = 'succeeded' AND item.outputs IS NOT NULL AND artifact.sha256 IS NULL
