"""Saved objects for Dashboards, and objects for Search Relevance. Pure: names and settings in, JSON out."""
