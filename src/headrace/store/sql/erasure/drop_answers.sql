DELETE FROM answer_key WHERE tenant_id = $1
