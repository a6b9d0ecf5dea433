"""A teacher: its vectors, stored and projected to the towers' dimension, and its scores."""
