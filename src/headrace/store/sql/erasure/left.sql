DELETE FROM leaving_blob WHERE sha256 = $1
