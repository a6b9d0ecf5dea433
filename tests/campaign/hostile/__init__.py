"""Places made by somebody hostile: nothing outside is touched, memory is bounded, nobody waits, errors are ours."""
