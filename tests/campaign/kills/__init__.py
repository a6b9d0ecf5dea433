"""Processes killed at each of their steps, and what must hold afterwards."""
