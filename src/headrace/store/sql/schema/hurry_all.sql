-- The same for what is not one transaction; the session is reset afterwards.
SELECT set_config('lock_timeout', $1, false)
