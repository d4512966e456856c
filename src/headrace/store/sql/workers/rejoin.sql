-- A worker whose session was lost is back; others may have signed it out meanwhile.
UPDATE worker SET ended_at = NULL WHERE id = $1
