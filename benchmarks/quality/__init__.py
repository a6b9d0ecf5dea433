"""Quality: what do the recipes reach on three sets? See ``__main__``."""
