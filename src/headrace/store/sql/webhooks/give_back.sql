-- Tries that were cut short by the end of this process: they are made again, by whoever comes.
UPDATE webhook_delivery AS delivery
SET leased_until = NULL, tries = delivery.tries - 1
FROM unnest($1::uuid[], $2::integer[]) AS held (id, tries)
WHERE delivery.id = held.id AND delivery.tries = held.tries AND delivery.state = 'pending'
