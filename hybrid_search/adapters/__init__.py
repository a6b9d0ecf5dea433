"""Other frameworks' interfaces over a retriever: one file each, with its framework's own names and parameters."""
