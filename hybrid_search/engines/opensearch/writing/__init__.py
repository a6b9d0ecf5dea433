"""Writing to an index on a server: bulk requests, pacing, and settings that are changed during a load."""
