INSERT INTO transfer (kind, debit_account_id, credit_account_id, amount_microcredits, batch_id,
    idx, round, attempt, reason, created_at)
SELECT kind, debit_account_id, credit_account_id, amount_microcredits, batch_id, idx, round,
    attempt, reason, $10
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::uuid[], $6::integer[],
    $7::smallint[], $8::integer[], $9::text[])
    AS told (kind, debit_account_id, credit_account_id, amount_microcredits, batch_id, idx,
        round, attempt, reason)
