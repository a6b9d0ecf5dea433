"""Verbs that measure, compare and choose."""
