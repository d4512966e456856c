-- Over a socket of this machine they mean nothing, and the server takes them all the same.
SELECT set_config('tcp_keepalives_idle', $1, false),
    set_config('tcp_keepalives_interval', $2, false),
    set_config('tcp_keepalives_count', $3, false),
    set_config('tcp_user_timeout', $4, false)
