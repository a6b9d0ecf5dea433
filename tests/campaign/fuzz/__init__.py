"""Generated input against everything that takes input: a typed error, a rejected record or an answer, and no more."""
