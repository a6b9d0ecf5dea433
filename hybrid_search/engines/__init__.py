"""The engines behind one protocol; they never import each other."""
