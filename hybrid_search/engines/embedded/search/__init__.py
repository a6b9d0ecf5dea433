"""How it is searched: the caches of both legs, filters, rankings and counts."""
