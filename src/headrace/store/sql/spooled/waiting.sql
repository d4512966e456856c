SELECT place, count(*) AS results, sum(size_bytes)::bigint AS size_bytes, min(spooled_at) AS since
FROM spooled_result
GROUP BY place
ORDER BY since
