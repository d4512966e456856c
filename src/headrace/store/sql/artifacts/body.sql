SELECT media_type, size_bytes, body FROM artifact WHERE sha256 = $1
