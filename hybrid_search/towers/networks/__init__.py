"""The torch side: encoders of token sequences, the two towers and their losses."""
