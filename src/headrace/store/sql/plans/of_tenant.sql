-- A tenant's plan, with its state, and its day at $2 and when that ends: the first moment of the
-- next day as its clocks show it, also where that day is longer or shorter than others.
SELECT tenant.state, tenant.state_reason, plan.name, plan.class AS class_name, plan.weight,
    plan.daily_items_max, plan.batches_max, plan.pixels_max, plan.watermark, plan.waiting_max,
    plan.daily_microcredits_max, plan.calls_max, tenant.daily_microcredits_max AS own_daily_microcredits_max,
    local.day, (local.day + 1)::timestamp AT TIME ZONE tenant.timezone AS midnight
FROM tenant
JOIN plan ON plan.name = tenant.plan
CROSS JOIN LATERAL (SELECT ($2::timestamptz AT TIME ZONE tenant.timezone)::date AS day) AS local
WHERE tenant.id = $1
