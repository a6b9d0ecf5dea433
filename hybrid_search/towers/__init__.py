"""The two towers: tokenizer, word vectors, networks, checkpoints, and encoding without torch."""
