-- Keep what was bought, before it is sent to the store; repeatable.
INSERT INTO spooled_result (batch_id, idx, key_number, sha256, media_type, size_bytes, reply, place,
    spooled_at)
SELECT told.batch_id, told.idx, told.key_number, told.sha256, told.media_type, told.size_bytes,
    told.reply::json, told.place, $9
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::bytea[], $5::text[], $6::bigint[],
    $7::text[], $8::text[])
    AS told (batch_id, idx, key_number, sha256, media_type, size_bytes, reply, place)
ON CONFLICT (batch_id, idx, key_number) DO UPDATE
SET sha256 = excluded.sha256, media_type = excluded.media_type, size_bytes = excluded.size_bytes,
    reply = excluded.reply, place = excluded.place, spooled_at = excluded.spooled_at
