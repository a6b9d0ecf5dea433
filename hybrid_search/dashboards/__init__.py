"""What Dashboards is told: saved objects and objects for Search Relevance. Pure: names and settings in, JSON out."""
