"""A teacher: its vectors, kept and brought to the towers' dimension, and its scores."""
