"""What the training loop reads: pairs, texts as arrays of token ids, a teacher's vectors."""
