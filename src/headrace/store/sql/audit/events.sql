SELECT progress.batch_id AS batch, progress.event_seq AS told, count(event.seq) AS kept
FROM batch_progress AS progress
JOIN batch ON batch.id = progress.batch_id AND batch.events_gone_at IS NULL
LEFT JOIN event ON event.batch_id = progress.batch_id
GROUP BY progress.batch_id, progress.event_seq
HAVING count(event.seq) <> progress.event_seq OR coalesce(max(event.seq), 0) <> progress.event_seq
