-- What has moved on a tenant's accounts since an instant; $1: available, $2: held.
SELECT
    coalesce(sum(one.amount) FILTER (WHERE one.kind IN ('grant', 'void')), 0)::bigint
        - coalesce(sum(one.amount) FILTER (WHERE one.kind IN ('reserve', 'expire')), 0)::bigint AS available,
    coalesce(sum(one.amount) FILTER (WHERE one.kind = 'reserve'), 0)::bigint
        - coalesce(sum(one.amount) FILTER (WHERE one.kind IN ('post', 'void')), 0)::bigint AS held
FROM (
    SELECT kind, amount_microcredits AS amount FROM transfer
    WHERE debit_account_id IN ($1, $2) AND created_at >= $3
    UNION ALL
    SELECT kind, amount_microcredits FROM transfer
    WHERE credit_account_id = $1 AND kind = 'grant' AND created_at >= $3
) AS one
