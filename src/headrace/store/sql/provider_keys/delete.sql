DELETE FROM provider_key WHERE tenant_id IS NOT DISTINCT FROM $1 AND provider = $2 RETURNING id
