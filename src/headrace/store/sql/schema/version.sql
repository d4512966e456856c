-- The migration that was applied last; the table is missing in an empty database.
SELECT version_num FROM alembic_version
