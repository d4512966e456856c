-- The bytes of answers that no item has taken yet.
SELECT coalesce(sum(octet_length(answer)), 0)::bigint FROM provider_batch_line
WHERE provider = $1 AND state = 'answered'
