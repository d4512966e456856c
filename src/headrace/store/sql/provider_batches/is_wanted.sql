-- Whether any item still waits for what a provider batch makes.
SELECT EXISTS (
    SELECT FROM provider_batch_line AS line
    JOIN item ON item.batch_id = line.batch_id AND item.idx = line.idx
    WHERE line.provider_batch_id = $1 AND line.state = 'sent'
        AND item.state IN ('pending', 'running', 'waiting', 'unknown')
)
