-- Move items on; one whose version moved meanwhile (cancelled) is left and not returned.
UPDATE item
SET state = told.state, version = item.version + 1, stage = told.stage, tries = told.tries,
    cached = told.cached, due_at = told.due_at,
    shard_id = CASE WHEN told.due_at IS NULL THEN item.shard_id END,
    cost_microusd = item.cost_microusd + told.cost_microusd,
    cost_estimate_microusd = item.cost_estimate_microusd + told.cost_estimate_microusd,
    cost_unknown = item.cost_unknown + told.cost_unknown::integer,
    spent_microcredits = item.spent_microcredits + told.spent_microcredits,
    priced_microcredits = told.priced_microcredits,
    outputs = coalesce(told.outputs::json, item.outputs), error = told.error::json,
    file = coalesce(told.file, item.file), course = told.course::json,
    made = coalesce(told.made::json, item.made), changed_at = $14
FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::text[], $5::smallint[],
    $6::smallint[], $7::boolean[], $8::timestamptz[], $9::bigint[], $10::bigint[], $11::text[],
    $12::text[], $13::text[], $15::text[], $16::text[], $17::bigint[], $18::boolean[],
    $19::bigint[])
    AS told (batch_id, idx, version, state, stage, tries, cached, due_at, cost_microusd,
        spent_microcredits, outputs, error, file, course, made, cost_estimate_microusd,
        cost_unknown, priced_microcredits)
WHERE item.batch_id = told.batch_id AND item.idx = told.idx AND item.version = told.version
RETURNING item.batch_id, item.idx
