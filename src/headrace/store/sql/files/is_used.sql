-- Whether bytes are still somebody's: another file's, or an artifact's.
SELECT EXISTS (SELECT FROM file WHERE sha256 = $1) OR EXISTS (SELECT FROM artifact WHERE sha256 = $1)
