"""Training the towers: pairs, negatives, batches, the loop. Never sees an engine."""
