SELECT count(*) FROM worker WHERE ended_at IS NULL
