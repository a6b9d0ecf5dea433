"""Mine hard negatives for a split's queries from an index, into a file that training reads."""
