-- Write attempts ahead of their calls: items move to running and each gets its attempt row,
-- or, where the item has moved on meanwhile (cancelled), neither happens.
WITH told AS (
    SELECT *
    FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::integer[], $5::integer[],
        $6::smallint[], $7::smallint[], $8::smallint[], $9::text[], $10::text[], $11::bytea[],
        $12::bigint[], $13::integer[], $14::bigint[], $16::text[], $17::text[], $18::text[])
        AS told (batch_id, idx, version, number, key_number, round, stage, tries, provider, lane,
            fingerprint, shard_id, fence, cost_max_microusd, provider_request_id, provider_url,
            course)
), moved AS (
    UPDATE item
    SET state = 'running', version = item.version + 1, attempts = told.number,
        stage = told.stage, tries = told.tries, course = told.course::json, changed_at = $15
    FROM told
    WHERE item.batch_id = told.batch_id AND item.idx = told.idx AND item.version = told.version
    RETURNING item.batch_id, item.idx
)
INSERT INTO attempt (batch_id, idx, number, key_number, round, stage, provider, lane, fingerprint,
    shard_id, fence, cost_max_microusd, at_risk_microusd, provider_request_id, provider_url, state,
    started_at)
SELECT told.batch_id, told.idx, told.number, told.key_number, told.round, told.stage,
    told.provider, told.lane, told.fingerprint, told.shard_id, told.fence,
    told.cost_max_microusd, coalesce(told.cost_max_microusd, 0), told.provider_request_id,
    told.provider_url,
    CASE WHEN told.provider_request_id IS NULL THEN 'started' ELSE 'accepted' END, $15
FROM told
JOIN moved ON moved.batch_id = told.batch_id AND moved.idx = told.idx
RETURNING batch_id, idx
