"""Measuring: protocol, significance, latency, tuning, reports."""
