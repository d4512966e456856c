SELECT secret FROM cache_secret WHERE tenant_id = $1
