-- Which of some blobs are an artifact's, a file's, a result's that waits, or on their way out already.
SELECT told.sha256
FROM unnest($1::bytea[]) AS told (sha256)
WHERE EXISTS (SELECT FROM artifact WHERE artifact.sha256 = told.sha256)
    OR EXISTS (SELECT FROM file WHERE file.sha256 = told.sha256)
    OR EXISTS (SELECT FROM leaving_blob WHERE leaving_blob.sha256 = told.sha256)
    OR EXISTS (SELECT FROM spooled_result WHERE spooled_result.sha256 = told.sha256)
