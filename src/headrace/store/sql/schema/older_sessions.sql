-- Sessions of releases whose schema is older than $1. They tell it in their name; releases that do
-- not are older than all that do; those behind a pooler have another name. A worker's own session
-- is known by the lock that it holds.
SELECT coalesce(substring(session.application_name FROM '^headrace/([0-9]{4})$'), '') AS schema,
    coalesce(host(session.client_addr), 'this machine') AS address,
    'worker ' || worker.id || ' (' || worker.host || ', process ' || worker.pid || ', headrace '
        || worker.version || ')' AS worker
FROM pg_stat_activity AS session
LEFT JOIN pg_locks AS held ON held.pid = session.pid AND held.locktype = 'advisory' AND held.granted
    AND held.classid = 7262 AND held.objsubid = 2 AND held.database = session.datid
LEFT JOIN worker ON worker.id::integer::oid = held.objid
WHERE session.datname = current_database() AND session.pid <> pg_backend_pid()
    AND session.application_name ~ '^headrace(/[0-9]{4})?$'
    AND coalesce(substring(session.application_name FROM '^headrace/([0-9]{4})$'), '') < $1
ORDER BY worker.id, session.pid
