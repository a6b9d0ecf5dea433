"""Showing what somebody typed without what may be a password in it. Layer 0."""

from __future__ import annotations

import re

__all__ = ["without_password"]

_NAMED = re.compile(r"((?:password|passwd|token|secret|pw|pass)[^=&]*=)[^&#]*", re.IGNORECASE)


def without_password(location: str) -> str:
    """Return what was given as a location, fit to be shown: ``http://me:***@host``, however it was misspelt."""
    shown = re.sub(r":[^@]*@", ":***@", location.replace("://", "\0")).replace("\0", "://")
    return _NAMED.sub(r"\1***", shown)
