SELECT sha256 FROM artifact WHERE doomed_at <= $1 ORDER BY doomed_at LIMIT 5000
