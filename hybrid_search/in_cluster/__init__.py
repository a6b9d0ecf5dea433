"""Towers inside the cluster: models of ml-commons, pipelines that name them, and the record of what was made."""
