"""The field's claims, settled under one small protocol. See ``__main__``."""
