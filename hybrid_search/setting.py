"""What every class of settings is: frozen, validated, JSON in and out.

Layer 1. ``msgspec`` parses and type-checks; ``__post_init__`` checks ranges. An unknown name is an error, so that a
typo never trains another model than the one that was asked for.
"""

from __future__ import annotations

from typing import Any, Self

import msgspec

from hybrid_search.errors import ConfigError

__all__ = ["Setting", "require"]


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all settings: JSON in, JSON out, copies with changes."""

    @classmethod
    def from_json(cls, data: bytes | str, *, source: str) -> Self:
        """Parse settings; ``source`` (a file name) is named in the error.

        :raises ConfigError: on an unknown name, a wrong type or a value out of range.
        """
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(f"{source}: {_in_words(error)}") from error

    @classmethod
    def from_mapping(cls, data: dict[str, Any], *, source: str) -> Self:
        """Build settings from plain values, with the same checks as :meth:`from_json`."""
        try:
            return msgspec.convert(data, type=cls)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"{source}: {_in_words(error)}") from error

    def to_json(self) -> bytes:
        """Return the settings as JSON in a canonical form: fixed key order, no spaces; equal settings, equal bytes."""
        return msgspec.json.encode(self, order="sorted")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some values changed, checked again.

        :raises ConfigError: as :meth:`from_mapping`.
        """
        return self.from_mapping({**msgspec.to_builtins(self), **msgspec.to_builtins(changes)}, source="settings")


def _in_words(error: Exception) -> str:
    """Put the setting's name in front, as people write it: ``towers.hidden: expected `int`, got `str```."""
    message, _, path = str(error).partition(" - at `$.")
    return f"{path.rstrip('`')}: {message[0].lower()}{message[1:]}" if path else message


def require(condition: bool, name: str, value: object, wanted: str) -> None:
    """Refuse a value.

    :raises ConfigError: naming the setting, its value and what it must be, unless ``condition`` holds.
    """
    if not condition:
        raise ConfigError(f"{name} is {value!r}; it must be {wanted}")
