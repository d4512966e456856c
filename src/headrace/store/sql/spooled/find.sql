SELECT sha256, media_type, size_bytes, reply, place, spooled_at
FROM spooled_result
WHERE batch_id = $1 AND idx = $2 AND key_number = $3
