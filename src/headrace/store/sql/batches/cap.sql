UPDATE batch SET cost_cap_microusd = $2 WHERE id = $1 RETURNING id
