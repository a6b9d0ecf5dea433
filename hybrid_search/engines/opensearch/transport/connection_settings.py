"""Connection settings: each is taken from options, the environment or the TOML connections file, in this order.

The *kind* of credentials is decided by the first of them that names one.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
from platformdirs import user_config_path

from hybrid_search.engines.opensearch.transport.connection import PREFIX, Connection
from hybrid_search.errors import ConfigError, UsageError
from hybrid_search.location import Address

__all__ = ["KEYS", "SECRETS", "chosen", "connected", "read_section", "resolved"]


_FIELDS = tuple(one.name for one in fields(Connection))
_WAYS = ("", "_file", "_env")

_CHOSEN: ContextVar[Connection | Mapping[str, Any] | None] = ContextVar("connection", default=None)


@contextmanager
def connected(connection: Connection | Mapping[str, Any] | None) -> Iterator[None]:
    """Use a connection for every server that is opened inside the block.

    :param connection: all of it; or some settings by name (:data:`KEYS`, and ``connections`` for the file), which take
        precedence over the environment and the file; None for none.
    """
    before = _CHOSEN.set(_CHOSEN.get() if connection is None else connection)
    try:
        yield
    finally:
        _CHOSEN.reset(before)


def chosen() -> Connection | Mapping[str, Any] | None:
    """Return the argument of :func:`connected`, to pass it to another thread or use it later."""
    return _CHOSEN.get()


def resolved(address: Address, environment: Mapping[str, str] = os.environ) -> Connection:
    """Combine the settings of :func:`connected`, the environment and the file.

    :raises ConfigError: if a setting is invalid or unknown.
    :raises UsageError: if a secret can't be read, or is missing.
    """
    said = chosen()
    if isinstance(said, Connection):
        return said
    given = {name: value for name, value in (said or {}).items() if value not in (None, "", ())}
    file = given.pop("connections", None)
    location = {"user": address.user} if address.user else {}
    section = read_section(address, Path(file) if file else None, environment)
    sources = (given, location, _from_environment(environment), section)
    return _merged(_of_one_kind(sources), environment)


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    names = (*_FIELDS, *(f"{secret}_file" for secret in SECRETS))
    found = {name: environment.get(f"{PREFIX}{name.upper()}", "") for name in names}
    values: dict[str, Any] = {name: value for name, value in found.items() if value}
    if "hosts" in values:
        values["hosts"] = [host.strip() for host in values["hosts"].split(",") if host.strip()]
    return values


def _of_one_kind(sources: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Drop credentials of other kinds than that of the first source that has any."""
    kinds = {"basic": ("user", "password"), "token": ("token",), "aws": ("aws_region", "aws_profile", "aws_service")}
    decided = next((kind for source in sources if (kind := _kind(source))), "")
    others = [names for kind, names in kinds.items() if kind != decided]
    dropped = {f"{name}{way}" for names in others for name in names for way in _WAYS}
    return [{name: value for name, value in source.items() if name not in dropped} for source in sources]


def _kind(source: Mapping[str, Any]) -> str:
    named = {
        "basic": "user" in source,
        "token": any(f"token{way}" in source for way in _WAYS),
        "aws": "aws_region" in source,
    }
    kinds = [kind for kind, is_named in named.items() if is_named]
    if len(kinds) > 1:
        raise ConfigError(f"credentials of two kinds are given in one place ({' and '.join(kinds)}); give one")
    return kinds[0] if kinds else ""


def _merged(sources: Sequence[Mapping[str, Any]], environment: Mapping[str, str]) -> Connection:
    values = {name: value for source in reversed(sources) for name, value in source.items() if name in _FIELDS}
    for name in SECRETS:
        values[name] = _secret(name, sources, environment)
    try:
        return msgspec.convert(values, Connection, strict=False)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, UsageError):
            raise error.__cause__ from None
        raise ConfigError(f"the connection's settings: {error}") from None


def _secret(name: str, sources: Sequence[Mapping[str, Any]], environment: Mapping[str, str]) -> str:
    for source in sources:
        if name in source:
            return str(source[name])
        if file := source.get(f"{name}_file"):
            return _content(name, Path(file).expanduser())
        if variable := source.get(f"{name}_env"):
            if variable not in environment:
                raise UsageError(f"{name}_env names {variable}, which is not in the environment; set it")
            return environment[variable]
    return ""


def _content(name: str, file: Path) -> str:
    try:
        content = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{name}_file {file}: it can't be read ({error}); check the path") from None
    if not content:
        raise UsageError(f"{name}_file {file}: it is empty; put the {name} into it")
    return content


SECRETS = ("password", "token")
"""Each also as ``…_file``, the path of a file with it, and ``…_env``, the name of an environment variable."""

KEYS = frozenset(
    {
        *("hosts", "verify", "ca_certs", "client_cert", "client_key", "user"),
        *("aws_region", "aws_service", "aws_profile", "connect_timeout", "read_timeout", "retries", "max_connections"),
        *(f"{secret}{way}" for secret in SECRETS for way in ("", "_file", "_env")),
    }
)
"""The allowed keys of a section."""

_PATHS = ("ca_certs", "client_cert", "client_key", *(f"{secret}_file" for secret in SECRETS))
_VARIABLES = tuple(f"{secret}_env" for secret in SECRETS)
_SECTION = re.compile(r"[^\s/@]+:\d+")
_EXPLICIT = "HYBRID_SEARCH_CONFIG"

_log = logging.getLogger(__name__)


def read_section(address: Address, file: Path | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """Read a file's section about a server; empty if there is no file, or no such section.

    :param file: None for the one that HYBRID_SEARCH_CONFIG names, else the user's own.
    :raises ConfigError: if a given file is missing, can't be read, or has unknown keys.
    """
    named = file or (Path(environment[_EXPLICIT]) if environment.get(_EXPLICIT) else None)
    path = named.expanduser() if named else user_config_path("hybrid-search") / "connections.toml"
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


def _place(address: Address) -> str:
    return address.server.partition("://")[2]


def _sections(text: str, path: Path) -> dict[str, dict[str, Any]]:
    try:
        sections = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The error's text quotes no line of the file, which may contain a password.
        raise ConfigError(f"{path}: not TOML: {error}") from None
    for name, section in sections.items():
        if not isinstance(section, dict) or not _SECTION.fullmatch(name):
            raise ConfigError(f'{path}: {name!r} is not a section for a server; write ["host:port"]')
        for key, value in section.items():
            if key not in KEYS:
                raise ConfigError(f'{path}: ["{name}"] has {key!r}, which is not known; there are {_listed()}')
            if key in _PATHS and not isinstance(value, str):
                raise ConfigError(f'{path}: ["{name}"] has a {key} that is not a text; write the path of a file')
            if key in _VARIABLES and not isinstance(value, str):
                raise ConfigError(f'{path}: ["{name}"] has a {key} that is not a text; write the name of a variable')
            if key in SECRETS and (isinstance(value, bool) or not isinstance(value, str | int)):
                raise ConfigError(f'{path}: ["{name}"] has a {key} that is not a text; write it in quotes')
    return sections


def _listed() -> str:
    return ", ".join(sorted(KEYS))


def _warn_of_readers(path: Path) -> None:
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _log.warning("%s: others may read the passwords in it: chmod 600 it, or use password_file", path)
