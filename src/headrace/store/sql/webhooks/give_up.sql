-- A webhook that is disabled is sent nothing more; what waits stands in the log as failed.
UPDATE webhook_delivery SET state = 'failed', leased_until = NULL, ended_at = $2
WHERE webhook_id = $1 AND state = 'pending'
