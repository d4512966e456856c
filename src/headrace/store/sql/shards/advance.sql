UPDATE batch SET cut_idx = $2 WHERE id = $1
