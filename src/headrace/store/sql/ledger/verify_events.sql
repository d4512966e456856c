-- Events are numbered without gaps, up to the number that the batch has given out.
SELECT batch.id::text AS batch, 'events' AS place, progress.event_seq::text AS expected,
    count(event.seq) || ', the last is ' || coalesce(max(event.seq), 0) AS found
FROM batch
JOIN batch_progress AS progress ON progress.batch_id = batch.id
LEFT JOIN event ON event.batch_id = batch.id
GROUP BY batch.id, progress.event_seq
HAVING count(event.seq) <> progress.event_seq OR coalesce(max(event.seq), 0) <> progress.event_seq
ORDER BY batch.id
LIMIT 1000
