"""Trains a general model: towers that learn a teacher's vectors of texts of many kinds, for use on any corpus."""
