-- Every rule that was ever added, the latest first, a page at a time.
SELECT id, kind, name, credits_microcredits, margin_ppm, usd_microcredits, at_most_microcredits,
    cached_microcredits, valid_from
FROM price_rule
WHERE id < $1
ORDER BY id DESC
LIMIT $2
