-- Note what of a batch is gone.
UPDATE batch
SET inputs_gone_at = CASE WHEN 'inputs' = ANY($2::text[]) THEN $3 ELSE inputs_gone_at END,
    artifacts_gone_at = CASE WHEN 'artifacts' = ANY($2) THEN $3 ELSE artifacts_gone_at END,
    events_gone_at = CASE WHEN 'events' = ANY($2) THEN $3 ELSE events_gone_at END
WHERE id = $1
