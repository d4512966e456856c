-- Which of these batches let nothing start any more.
SELECT id FROM batch
WHERE id = ANY($1::uuid[]) AND state IN ('finalizing', 'cancelled', 'expired', 'failed')
