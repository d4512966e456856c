-- The lanes that somebody works on, since $1; those of tenants' own keys are the tenants' affair.
SELECT lane.name, lane.live
FROM lane
WHERE lane.live_at > $1 AND lane.live IS NOT NULL
    AND NOT EXISTS (
        SELECT FROM tenant WHERE tenant.id = substring(lane.name FROM '@([^@/]*)(?:/batch)?$')
    )
ORDER BY lane.name
LIMIT $2
