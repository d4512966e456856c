-- Artifacts that somebody has let go of; the grace begins (again) now.
UPDATE artifact SET doomed_at = $2
FROM (SELECT sha256 FROM artifact WHERE sha256 = ANY($1::bytea[]) ORDER BY sha256 FOR UPDATE) AS held
WHERE artifact.sha256 = held.sha256
