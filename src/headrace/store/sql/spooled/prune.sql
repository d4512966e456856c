-- Forget what nobody waits for any more: its item has ended some other way.
DELETE FROM spooled_result
USING item
WHERE item.batch_id = spooled_result.batch_id AND item.idx = spooled_result.idx
    AND item.state IN ('succeeded', 'failed', 'refused', 'cancelled', 'dead')
