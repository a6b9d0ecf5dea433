"""Training the towers: examples, negatives, teachers, the loop, and defaults fitted afterwards."""
