UPDATE cutting SET level = $1 WHERE level < $1
