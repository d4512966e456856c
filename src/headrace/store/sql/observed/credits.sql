SELECT kind, sum(balance_microcredits)::bigint AS balance FROM account GROUP BY kind
