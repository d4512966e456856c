SELECT sha256 FROM leaving_blob WHERE due_at <= $1 ORDER BY due_at LIMIT 1000
