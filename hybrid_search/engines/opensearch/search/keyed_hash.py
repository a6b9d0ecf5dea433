"""Hashes of texts that only the holder of a key can make: for logs that must not hold the texts.

A plain hash of a query is no secret: whoever guesses the query can check the guess, and queries are easily guessed.
With a key (HMAC-SHA-256) that is not kept where the hashes are, equal texts still have equal hashes, and nothing else
is told.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from hybrid_search.errors import ConfigError
from hybrid_search.storage import cache_folder, disk_errors
from hybrid_search.types import normalise_text

__all__ = ["KEY_VARIABLE", "hash_key", "keyed_hash"]

KEY_VARIABLE = "HYBRID_SEARCH_LOG_KEY"
"""Environment variable with the key, for several machines whose hashes should agree."""

_DIGITS = 32
_KEY_BYTES = 32
_SHORTEST = 16


def keyed_hash(text: str, key: bytes) -> str:
    """Return 32 hexadecimal digits that name a text; Unicode form, case and white space make no difference."""
    normalised = normalise_text(text).encode("utf-8", "surrogatepass")
    return hmac.new(key, normalised, hashlib.sha256).hexdigest()[:_DIGITS]


def hash_key() -> bytes:
    """Return this user's key: of the environment, else of a file in the cache folder, made when there is none.

    :raises ConfigError: if the environment's key is shorter than 16 characters, which could be guessed.
    :raises StorageError: if the file can't be read or made.
    """
    if given := os.environ.get(KEY_VARIABLE):
        if len(given) < _SHORTEST:
            raise ConfigError(f"{KEY_VARIABLE} has {len(given)} characters; give at least {_SHORTEST} random ones")
        return given.encode("utf-8", "surrogateescape")
    file = cache_folder("query-log") / "key"
    with disk_errors(f"the key of hashed queries in {file}"):
        if not file.exists():
            _make(file)
        return bytes.fromhex(file.read_text(encoding="ascii"))


def _make(file: Path) -> None:
    """Write a new key for the owner alone; if another process was first, its key stays."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{secrets.token_hex(8)}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as written:
            written.write(secrets.token_hex(_KEY_BYTES))
        try:
            os.link(part, file)
        except FileExistsError:
            return
    finally:
        part.unlink()
