"""Diagnosis of a server and its indexes: ``vitals`` fetches, the checks judge purely, ``diagnosis`` joins them."""
