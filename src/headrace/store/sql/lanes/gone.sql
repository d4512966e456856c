-- Workers of lanes whose session is gone: nobody holds their lock.
SELECT id FROM unnest($1::integer[]) AS known (id) WHERE pg_try_advisory_xact_lock(7263, id)
