-- Of each kind and name the rule that began last; those that end there are left out.
SELECT * FROM (
    SELECT DISTINCT ON (kind, name) id, kind, name, credits_microcredits, margin_ppm,
        usd_microcredits, at_most_microcredits, cached_microcredits, valid_from
    FROM price_rule
    WHERE valid_from <= $1
    ORDER BY kind, name, valid_from DESC, id DESC
) AS latest
WHERE credits_microcredits IS NOT NULL OR margin_ppm IS NOT NULL
ORDER BY kind, name
