-- A batch that is being cancelled, held in that state until commit.
SELECT tenant_id, reserve_microcredits FROM batch WHERE id = $1 AND state = 'finalizing' FOR SHARE
