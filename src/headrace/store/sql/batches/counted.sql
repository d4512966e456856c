UPDATE batch SET item_count = $2 WHERE id = $1
