"""Fits defaults on validation queries: BM25's k1 and b, and the weights of the legs."""
