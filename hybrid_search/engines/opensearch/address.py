"""Where an index is: the parts of ``opensearch[s]://user@host:9200/index``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote, urlsplit

from hybrid_search.errors import UsageError

__all__ = ["SCHEMES", "Address"]

SCHEMES = ("opensearch", "opensearchs")
"""Plain HTTP and TLS."""

_PORT = 9200
_NAME = re.compile(r"[^\s\"*\\<>|,?#:/A-Z_+.-][^\s\"*\\<>|,?#:/A-Z]*")
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Address:
    """An index (or an alias of one) on a server. As text it is what was given; there is never a password in it."""

    host: str
    port: int
    index: str
    tls: bool = False
    user: str = ""

    @classmethod
    def parse(cls, location: str) -> Self:
        """Take a location apart.

        :raises UsageError: if a part is missing or wrong, or there is a password in it; passwords come from the
            environment, since a command line is seen by every user of the machine.
        """
        wanted = "give opensearch://host:9200/index, or opensearchs:// for TLS"
        try:
            parts = urlsplit(location)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise UsageError(f"the location can't be read ({error}); {wanted}") from None
        if parts.password is not None:
            raise UsageError("a location must not hold a password; put it into OPENSEARCH_PASSWORD")
        index = parts.path.strip("/")
        if parts.scheme not in SCHEMES or not host:
            raise UsageError(f"{location}: not a server's location; {wanted}")
        if parts.query or parts.fragment:
            raise UsageError(f"{location}: has more than an index after the host; {wanted}")
        if not _NAME.fullmatch(index) or len(index.encode()) > _LONGEST_NAME:
            raise UsageError(
                f"{location}: {index!r} can't be an index's name; it is in lower case, without spaces or any of "
                f'"*\\<>|,?#:/, and starts with a letter or a digit'
            )
        return cls(host, port or _PORT, index, tls=parts.scheme == "opensearchs", user=unquote(parts.username or ""))

    @property
    def server(self) -> str:
        """The server alone, as in ``http://localhost:9200``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    def __str__(self) -> str:
        _, _, place = self.server.partition("://")
        user = f"{self.user}@" if self.user else ""
        return f"opensearch{'s' if self.tls else ''}://{user}{place}/{self.index}"
