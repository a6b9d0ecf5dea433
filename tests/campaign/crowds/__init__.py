"""Many at once: threads, tasks and processes that search, write and close, against a model of what each may see."""
