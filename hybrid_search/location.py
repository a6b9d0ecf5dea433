"""Where an index or a server is: a folder, or the parts of ``opensearch[s]://user@host:9200/index``."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from hybrid_search.errors import UsageError, shown

__all__ = ["SCHEMES", "Address", "usable_path", "without_password"]


SCHEMES = ("opensearch", "opensearchs")
"""Plain HTTP and TLS."""

_PORT = 9200
_NAME = re.compile(r"[^\s\"*\\<>|,?#:/A-Z_+.\-\ud800-\udfff][^\s\"*\\<>|,?#:/A-Z\ud800-\udfff]*")
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Address:
    """An index (or an alias of one) on a server. As text it is what was given; there is never a password in it.

    :ivar index: empty for a server alone.
    """

    host: str
    port: int
    index: str
    tls: bool = False
    user: str = ""

    @classmethod
    def parse(cls, location: str) -> Self:
        """Take an index's location apart.

        :raises UsageError: if a part is missing or wrong, or there is a password in it; passwords come from the
            environment, since a command line is seen by every user of the machine.
        """
        address = cls.parse_server(location)
        address._check_index(location)
        return address

    @classmethod
    def parse_server(cls, location: str) -> Self:
        """Take the location of a server, or of an index on one, apart.

        :raises UsageError: as :meth:`parse`, save that the index may be left out.
        """
        wanted = "give opensearch://host:9200/index, or opensearchs:// for TLS"
        shown = without_password(location)
        try:
            parts = urlsplit(location)
            host, port = parts.hostname, parts.port
        except ValueError:
            # The reason may quote a part of a password.
            raise UsageError(f"{shown}: the location can't be read; {wanted}") from None
        if parts.password is not None:
            raise UsageError("a location must not hold a password; put it into OPENSEARCH_PASSWORD")
        if parts.scheme not in SCHEMES or not host:
            raise UsageError(f"{shown}: not a server's location; {wanted}")
        if parts.query or parts.fragment:
            raise UsageError(f"{shown}: has more than an index after the host; {wanted}")
        tls, user = parts.scheme == "opensearchs", unquote(parts.username or "")
        address = cls(host, port or _PORT, parts.path.strip("/"), tls=tls, user=user)
        if address.index:
            address._check_index(location)
        return address

    def at(self, index: str) -> Self:
        """Return the address of another index (or alias) on the same server.

        :raises UsageError: if it can't be a name.
        """
        other = replace(self, index=index)
        other._check_index(index)
        return other

    def at_server(self) -> Self:
        """Return the address of the server alone."""
        return replace(self, index="")

    def _check_index(self, given: str) -> None:
        given = without_password(given)
        if not self.index:
            raise UsageError(f"{given}: name the index behind the host; hybrid-search indexes {given} lists them")
        if not _NAME.fullmatch(self.index) or len(self.index.encode("utf-8", "surrogatepass")) > _LONGEST_NAME:
            raise UsageError(
                f"{given}: {self.index!r} can't be an index's name; it is in lower case, without spaces or any of "
                f'"*\\<>|,?#:/, and starts with a letter or a digit'
            )

    @property
    def server(self) -> str:
        """The server alone, as in ``http://localhost:9200``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def __str__(self) -> str:
        _, _, place = self.server.partition("://")
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        index = f"/{self.index}" if self.index else ""
        return f"opensearch{'s' if self.tls else ''}://{user}{place}{index}"


_NAMED = re.compile(r"((?:password|passwd|token|secret|pw|pass)[^=&]*=)[^&#]*", re.IGNORECASE)


def without_password(location: str) -> str:
    """Return what was given as a location, fit to be shown: ``http://me:***@host``, however it was misspelt."""
    shown = re.sub(r":[^@]*@", ":***@", location.replace("://", "\0")).replace("\0", "://")
    return _NAMED.sub(r"\1***", shown)


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
