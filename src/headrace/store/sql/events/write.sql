INSERT INTO event (batch_id, seq, kind, idx, data, at)
SELECT batch_id, seq, kind, idx, data::json, $6
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::integer[], $5::text[])
    AS told (batch_id, seq, kind, idx, data)
