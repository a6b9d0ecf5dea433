"""The way to a server: connection settings, requests and retries, failures as errors of ours."""
