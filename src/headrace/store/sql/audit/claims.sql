SELECT entry.tenant_id AS tenant, entry.claim_shard_id AS shard, count(*) AS claims
FROM cache_entry AS entry
JOIN shard ON shard.id = entry.claim_shard_id
WHERE shard.state = 'done' AND shard.fence = entry.claim_fence
GROUP BY entry.tenant_id, entry.claim_shard_id
