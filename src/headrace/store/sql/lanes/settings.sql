-- A worker that freezes while it holds a lane is cut off, and the others go on; the steps
-- themselves need no durable commit.
SELECT set_config('synchronous_commit', 'off', false),
    set_config('idle_in_transaction_session_timeout', $1, false),
    set_config('lock_timeout', $1, false),
    set_config('statement_timeout', $1, false)
