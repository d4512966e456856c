SELECT EXISTS (
    SELECT FROM webhook
    WHERE secret_master IS NULL OR (old_secret IS NOT NULL AND old_secret_master IS NULL)
)
