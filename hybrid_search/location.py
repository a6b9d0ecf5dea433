"""Locations: a folder, or the parts of ``opensearch[s]://user@host:9200/index``."""

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
"""The schemes for plain HTTP and for TLS."""

_PORT = 9200
_NAME = re.compile(r"[^\s\"*\\<>|,?#:/A-Z_+.\-\ud800-\udfff][^\s\"*\\<>|,?#:/A-Z\ud800-\udfff]*")
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Address:
    """The address of an index (or an alias) on a server. As text it is the given location, never with a password.

    :ivar index: empty if only the server was given.
    """

    host: str
    port: int
    index: str
    tls: bool = False
    user: str = ""

    @classmethod
    def parse(cls, location: str) -> Self:
        """Parse the location of an index.

        :raises UsageError: if a part is missing or invalid, or it contains a password; passwords must come from the
            environment, because every user of the machine can see command lines.
        """
        address = cls.parse_server(location)
        address._check_index(location)
        return address

    @classmethod
    def parse_server(cls, location: str) -> Self:
        """Parse the location of a server, or of an index on one.

        :raises UsageError: as :meth:`parse`, except that the index may be missing.
        """
        advice = "give opensearch://host:9200/index, or opensearchs:// for TLS"
        shown = without_password(location).encode("utf-8", "backslashreplace").decode()
        if not location.isascii() and location.encode("utf-8", "replace").decode() != location:
            raise UsageError(f"{shown}: the location is no valid Unicode; {advice}")
        try:
            parts = urlsplit(location)
            host, port = parts.hostname, parts.port
        except ValueError:
            # The reason may quote part of a password.
            raise UsageError(f"{shown}: the location can't be read; {advice}") from None
        if parts.password is not None:
            raise UsageError("a location must not hold a password; put it into OPENSEARCH_PASSWORD")
        if parts.scheme not in SCHEMES or not host:
            raise UsageError(f"{shown}: not a server's location; {advice}")
        if parts.query or parts.fragment:
            raise UsageError(f"{shown}: has more than an index after the host; {advice}")
        tls, user = parts.scheme == "opensearchs", unquote(parts.username or "")
        address = cls(host, port or _PORT, parts.path.strip("/"), tls=tls, user=user)
        if address.index:
            address._check_index(location)
        return address

    def at(self, index: str) -> Self:
        """Return the address of another index (or alias) on the same server.

        :raises UsageError: if the name is invalid.
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
        """The server's URL, such as ``http://localhost:9200``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def __str__(self) -> str:
        _, _, host = self.server.partition("://")
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        index = f"/{self.index}" if self.index else ""
        return f"opensearch{'s' if self.tls else ''}://{user}{host}{index}"


_NAMED = re.compile(r"((?:password|passwd|token|secret|pw|pass)[^=&]*=)[^&#]*", re.IGNORECASE)


def without_password(location: str) -> str:
    """Return a location with passwords masked, for display: ``http://me:***@host``; works for invalid ones, too."""
    shown = re.sub(r":[^@]*@", ":***@", location.replace("://", "\0")).replace("\0", "://")
    return _NAMED.sub(r"\1***", shown)


_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM)


def usable_path(given: object, what: str, wanted: str) -> Path:
    """Return a path that the system accepts, whether or not it exists.

    :param what: its name in the message, such as ``model``.
    :param wanted: what to give instead.
    :raises UsageError: if it is not a path, is empty, or is refused by the system.
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
