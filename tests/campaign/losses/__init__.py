"""Power that goes: what was written and not yet forced to the disk may be missing, torn, or there in another order."""
