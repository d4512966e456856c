SELECT body FROM artifact WHERE sha256 = $1
