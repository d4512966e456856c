UPDATE leaving_blob SET due_at = $2 WHERE sha256 = $1
