"""What the steps of ``score_shards`` share. It comes along with those that import it."""
