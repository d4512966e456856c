SELECT coalesce(tenant_id, 'platform') AS owner, kind, balance_microcredits
FROM account
ORDER BY tenant_id NULLS LAST, kind
