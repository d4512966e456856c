-- In this transaction no lock is waited for longer than $1: whoever comes later stands in line
-- behind who waits.
SELECT set_config('lock_timeout', $1, true)
