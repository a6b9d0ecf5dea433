"""API keys: made here, shown once, kept as a hash in a TOML file.

A section for each key, whose name is in the log::

    [shop-frontend]
    sha256 = "9f86d081884c7d65…"
    may = ["search"]

A key is 256 random bits, so a plain hash keeps it: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import msgspec

from hybrid_search.errors import ConfigError, UsageError, shown
from hybrid_search.service.problems import Forbidden, KeyMissing
from hybrid_search.storage import atomic_write_bytes, disk_errors

__all__ = ["ApiKeys", "Right", "add_key"]

Right = Literal["search", "write"]

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
_PREFIX = "hs_"


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sha256: str
    may: tuple[Right, ...] = ("search",)


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """Who may do what.

    :ivar entries: hash of a key -> its name and rights; None lets everybody in.
    """

    entries: Mapping[str, tuple[str, frozenset[Right]]] | None = None

    @classmethod
    def read(cls, file: str) -> Self:
        """Read a file of keys; an empty name lets everybody in.

        :raises ConfigError: if the file is no such file, or has no key.
        """
        if not file:
            return cls()
        sections = _sections(Path(file))
        if not sections:
            raise ConfigError(f"{file} has no API key; make one: hybrid-search new-key NAME --keys {file}")
        return cls({one.sha256.lower(): (name, frozenset(one.may)) for name, one in sections.items()})

    def name_of(self, authorization: str, right: Right) -> str:
        """Return the name of a request's key; empty if everybody is let in.

        :param authorization: the header ``Authorization``, ``Bearer KEY``.
        :raises KeyMissing: if there is no valid key.
        :raises Forbidden: if the key lacks the right.
        """
        if self.entries is None:
            return ""
        scheme, _, key = authorization.partition(" ")
        found = self.entries.get(_hash(key.strip())) if scheme.lower() == "bearer" else None
        if found is None:
            raise KeyMissing("send an API key of this service: Authorization: Bearer KEY")
        name, rights = found
        if right not in rights:
            raise Forbidden(f"the API key {name} may {', '.join(sorted(rights))}, and not {right}")
        return name


def add_key(file: Path, name: str, rights: tuple[Right, ...]) -> str:
    """Make a key, add its hash to a file (made if there is none) and return the key, which nobody can get again.

    :raises UsageError: if the name is taken or invalid.
    :raises ConfigError: if the file is none of keys.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"the key's name is {shown(name)}; give letters, digits, - _ and ., at most 64")
    sections = _sections(file) if file.exists() else {}
    if name in sections:
        raise UsageError(f"{file} has a key {name} already; take its section out first, or give another name")
    key = _PREFIX + secrets.token_urlsafe(32)
    sections[name] = _Entry(_hash(key), rights)
    may = {one: ", ".join(f'"{right}"' for right in entry.may) for one, entry in sections.items()}
    text = "\n".join(f'["{one}"]\nsha256 = "{entry.sha256}"\nmay = [{may[one]}]\n' for one, entry in sections.items())
    atomic_write_bytes(file, text.encode())
    return key


def _sections(file: Path) -> dict[str, _Entry]:
    try:
        with disk_errors(f"reading {file}"):
            content = file.read_bytes()
        sections = msgspec.convert(tomllib.loads(content.decode()), dict[str, _Entry])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError, RecursionError) as error:
        advice = "each section needs sha256, and may: [search, write]"
        raise ConfigError(f"{file} is no file of API keys: {error}; {advice}") from None
    for name, one in sections.items():
        if not re.fullmatch(r"[0-9a-fA-F]{64}", one.sha256):
            raise ConfigError(f"{file}: sha256 of {name} is {shown(one.sha256)}; it must be 64 hexadecimal digits")
    return sections


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
