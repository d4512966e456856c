-- Which of some bodies are results that somebody waits for, with what their object is to say.
SELECT DISTINCT ON (sha256) sha256, media_type, size_bytes
FROM spooled_result
WHERE sha256 = ANY ($1::bytea[])
ORDER BY sha256
