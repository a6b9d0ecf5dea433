"""What the service answers: a file for each group of routes, and the schema of requests and answers."""
