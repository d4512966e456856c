INSERT INTO price_rule (kind, name, credits_microcredits, margin_ppm, usd_microcredits,
    at_most_microcredits, cached_microcredits, valid_from, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING id
