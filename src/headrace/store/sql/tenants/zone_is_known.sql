SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1 AND name NOT LIKE 'posix/%')
