"""Zstandard for tests: Python's own module where it has one (3.14), else the package."""

try:
    from compression.zstd import compress
except ImportError:
    from zstandard import compress

__all__ = ["compress"]
