"""The training loop: batches, objective, optimiser, validation."""
