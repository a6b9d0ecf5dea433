"""What a verb of the command line does, as functions for any backend to call. Layer 5: the wiring."""
