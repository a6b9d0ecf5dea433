"""What a cluster is told: index templates and search pipelines."""
