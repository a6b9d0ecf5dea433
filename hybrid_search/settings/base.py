"""The base of all settings: frozen, validated, converted from and to JSON.

``msgspec`` parses and checks types; ``check`` checks ranges. An unknown name is an error, so that a misspelt setting is
never ignored.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from typing import Any, Self, cast, get_type_hints

import msgspec

from hybrid_search.errors import ConfigError, shown

__all__ = ["Setting", "check_types", "require"]


class Setting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all settings, with JSON conversion and copies with changes; types are always checked."""

    def __post_init__(self) -> None:
        # msgspec checks types when it parses, but not in constructors.
        for name, kind in _kinds(type(self)):
            given = getattr(self, name)
            value = _typed(name, given, kind)
            if value is not given:
                msgspec.structs.force_setattr(self, name, value)
        self.check()

    def check(self) -> None:
        """Check ranges and combinations of values; called when the settings are made.

        :raises ConfigError: through :func:`require`.
        """

    @classmethod
    def from_json(cls, data: bytes | str, *, source: str) -> Self:
        """Parse settings; ``source`` (a file name) is named in the error.

        :raises ConfigError: on an unknown name, a wrong type or a value out of range.
        """
        try:
            return msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise ConfigError(f"{source}: {_in_words(error)}") from error

    @classmethod
    def from_mapping(cls, data: dict[str, Any], *, source: str) -> Self:
        """Build settings from plain values, with the same checks as :meth:`from_json`."""
        try:
            return msgspec.convert(data, type=cls)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"{source}: {_in_words(error)}") from error

    def to_json(self) -> bytes:
        """Return canonical JSON: sorted keys, no spaces, so that equal settings give equal bytes."""
        return msgspec.json.encode(self, order="sorted")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some values changed, checked again.

        :raises ConfigError: as :meth:`from_mapping`.
        """
        return self.from_mapping({**msgspec.to_builtins(self), **msgspec.to_builtins(changes)}, source="settings")


def check_types(options: object) -> None:
    """Check the types of a dataclass's values, as :class:`Setting` does; fields of functions are skipped.

    :raises ConfigError: naming the first value that has another type than its field.
    """
    for name, kind in _hints(cast(Hashable, type(options))):
        _typed(name, getattr(options, name), kind)


def _typed(name: str, given: object, kind: Any) -> Any:
    try:
        return msgspec.convert(given, kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter: a lone surrogate
        raise ConfigError(f"{name} is {shown(given)}: {_in_words(error)}") from None


@cache
def _hints(options: Hashable) -> tuple[tuple[str, Any], ...]:
    return tuple((name, kind) for name, kind in get_type_hints(options).items() if "Callable" not in str(kind))


@cache
def _kinds(settings: type[Setting]) -> tuple[tuple[str, Any], ...]:
    return tuple((one.name, one.type) for one in msgspec.structs.fields(settings))


def _in_words(error: Exception) -> str:
    """Format a message with the setting's name first: ``towers.hidden: expected `int`, got `str```."""
    message, _, path = str(error).partition(" - at `$.")
    message = f"{message[:1].lower()}{message[1:]}" if path or message.startswith("Expected") else message
    return f"{path.rstrip('`')}: {message}" if path else message


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Raise unless ``condition`` holds.

    :param expected: the valid values, for the message.
    :raises ConfigError: naming the setting, its value and the valid values.
    """
    if not condition:
        raise ConfigError(f"{name} is {shown(value)}; it must be {expected}")
