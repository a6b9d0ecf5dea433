"""The connections file: a TOML section for each server."""

from __future__ import annotations

import logging
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybrid_search.engines.opensearch.address import Address
from hybrid_search.errors import ConfigError

__all__ = ["KEYS", "SECRETS", "read_section"]

SECRETS = ("password", "token")
"""Each also as ``…_file``, the path of a file that holds it, and ``…_env``, the name of an environment variable."""

KEYS = frozenset(
    {
        *("hosts", "verify", "ca_certs", "client_cert", "client_key", "user"),
        *("aws_region", "aws_service", "aws_profile", "connect_timeout", "read_timeout", "retries", "max_connections"),
        *(f"{secret}{way}" for secret in SECRETS for way in ("", "_file", "_env")),
    }
)
"""What a section may say."""

_PATHS = ("ca_certs", "client_cert", "client_key", *(f"{secret}_file" for secret in SECRETS))
_SECTION = re.compile(r"[^\s/@]+:\d+")
_EXPLICIT = "HYBRID_SEARCH_CONFIG"

_log = logging.getLogger(__name__)


def read_section(address: Address, file: Path | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """Read what a file says about a server; nothing if there is no file, or no section for it.

    :param file: None for the one that HYBRID_SEARCH_CONFIG names, else the user's own.
    :raises ConfigError: if the file is named and not there, can't be read, or says what is not known.
    """
    named = file or (Path(environment[_EXPLICIT]) if environment.get(_EXPLICIT) else None)
    path = (named or _users_own(environment)).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if named:
            raise ConfigError(f"{path}: there is no such connections file; check the path") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the connections file can't be read ({error})") from None
    sections = _sections(text, path)
    if any(secret in section for section in sections.values() for secret in SECRETS):
        _warn_of_readers(path)
    section = sections.get(_place(address), {})
    beside = {name: str(path.parent / Path(section[name]).expanduser()) for name in _PATHS if name in section}
    return {**section, **beside}


def _users_own(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path("~/.config")) / "hybrid-search" / "connections.toml"


def _place(address: Address) -> str:
    return address.server.partition("://")[2]


def _sections(text: str, path: Path) -> dict[str, dict[str, Any]]:
    try:
        sections = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The error's text holds no line of the file, which may have a password in it.
        raise ConfigError(f"{path}: not TOML: {error}") from None
    for name, section in sections.items():
        if not isinstance(section, dict) or not _SECTION.fullmatch(name):
            raise ConfigError(f'{path}: {name!r} is not a section for a server; write ["host:port"]')
        for key, value in section.items():
            if key not in KEYS:
                raise ConfigError(f'{path}: ["{name}"] has {key!r}, which is not known; there are {_listed()}')
            if key in _PATHS and not isinstance(value, str):
                raise ConfigError(f'{path}: ["{name}"] has a {key} that is not a text; write the path of a file')
    return sections


def _listed() -> str:
    return ", ".join(sorted(KEYS))


def _warn_of_readers(path: Path) -> None:
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _log.warning("%s: others may read the passwords in it: chmod 600 it, or use password_file", path)
