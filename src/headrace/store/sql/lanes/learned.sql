SELECT name, learned, learned_at FROM lane WHERE learned IS NOT NULL
