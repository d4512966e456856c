UPDATE artifact SET doomed_at = NULL WHERE sha256 = ANY($1::bytea[]) AND doomed_at <= $2
