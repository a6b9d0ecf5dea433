"""What somebody gave as a path, checked before anything is looked for. Layer 0."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from hybrid_search.errors import UsageError
from hybrid_search.showing import shown

__all__ = ["usable_path"]

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM)


def usable_path(given: object, what: str, wanted: str) -> Path:
    """Return a path that the system can be asked about; whether there is anything is another question.

    :param what: what it is, for the message, as in ``model``.
    :param wanted: what to give instead.
    :raises UsageError: if it is no path, is empty, or the system takes no such name.
    """
    if not isinstance(given, str | Path) or not str(given) or "\0" in str(given):
        raise UsageError(f"{what} is {shown(given)}; {wanted}")
    try:
        os.lstat(given)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise UsageError(f"{what} is {shown(str(given))}: {error.strerror}; {wanted}") from None
    except UnicodeEncodeError:
        raise UsageError(f"{what} is {shown(str(given))}, which has no form in bytes; {wanted}") from None
    return Path(given)
