-- Whether bytes are still somebody's: another file's, an artifact's, or a result's that is on its way.
SELECT EXISTS (SELECT FROM file WHERE sha256 = $1)
    OR EXISTS (SELECT FROM artifact WHERE sha256 = $1)
    OR EXISTS (SELECT FROM spooled_result WHERE sha256 = $1)
