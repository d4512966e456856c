-- Locked in the one order in which ledger/move.sql takes them.
SELECT kind, balance_microcredits FROM account WHERE tenant_id = $1 ORDER BY id FOR UPDATE
