SELECT sha256, body FROM artifact WHERE sha256 = ANY($1::bytea[]) AND body IS NOT NULL
