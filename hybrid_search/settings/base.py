"""The base of all settings: frozen, validated, converted from and to JSON.

``msgspec`` parses, and checks types and ranges; a field's ``msgspec.Meta`` has its range and says what it means.
``check`` checks combinations of values. An unknown name is an error, so that a misspelt setting
is never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from hybrid_search.errors import ConfigError, shown

__all__ = ["Setting", "check_types", "meta_of", "plain_kind", "require", "wanted"]

_OUT_OF_RANGE = re.compile(r"Expected `[a-z]+` (?:[<>]=?|matching regex) |Invalid enum value ")


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
        """Check combinations of values; called when the settings are made.

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
            raise ConfigError(f"{source}: {_in_words(error, cls, _plain(data))}") from error

    @classmethod
    def from_mapping(cls, data: dict[str, Any], *, source: str) -> Self:
        """Build settings from plain values, with the same checks as :meth:`from_json`."""
        try:
            return msgspec.convert(data, type=cls)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"{source}: {_in_words(error, cls, data)}") from error

    def to_json(self) -> bytes:
        """Return canonical JSON: sorted keys, no spaces, so that equal settings give equal bytes."""
        return msgspec.json.encode(self, order="sorted")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some values changed, checked again.

        :raises ConfigError: as :meth:`from_mapping`.
        """
        return self.from_mapping({**msgspec.to_builtins(self), **msgspec.to_builtins(changes)}, source="settings")


def meta_of(kind: Any) -> Meta:
    """Return what is noted of a field: its range, and as ``description`` what it means."""
    return next((note for note in get_args(_present(kind)) if isinstance(note, Meta)), Meta())


def plain_kind(kind: Any) -> Any:
    """Return a field's type without what is noted of it, and without None."""
    kind = _present(kind)
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def wanted(kind: Any) -> str:
    """Say in words which values a field takes: ``a number from 0 to 1``, ``one of mean, rnn, gru``.

    A ``Meta`` with a ``title`` says it itself.
    """
    note, plain = meta_of(kind), plain_kind(kind)
    if note.title:
        return note.title
    if get_origin(plain) is Literal:
        return f"one of {', '.join(str(value) or 'empty' for value in get_args(plain))}"
    if plain is bool:
        return "yes or no"
    if plain in (int, float):
        return ("a whole number" if plain is int else "a number") + _range(note)
    return "text" if plain is str else "a value of another form"


def _range(note: Meta) -> str:
    if note.ge is not None and note.le is not None:
        return f" from {note.ge:g} to {note.le:.10g}"
    if note.ge is not None and note.lt is not None:
        return f" from {note.ge:g} to below {note.lt:g}"
    if note.gt is not None:
        return f" above {note.gt:g}"
    return "" if note.ge is None else f", {note.ge:g} or more"


def _present(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        return next(part for part in get_args(kind) if part is not NoneType)
    return kind


def check_types(options: object) -> None:
    """Check the types of a dataclass's values, as :class:`Setting` does; fields of functions are skipped.

    :raises ConfigError: naming the first value that has another type than its field.
    """
    for name, kind in _hints(cast(Hashable, type(options))):
        given = getattr(options, name)
        _check_class(name, given, kind)
        _typed(name, given, kind)


def _check_class(name: str, given: object, kind: Any) -> None:
    """Refuse what msgspec would convert, as the value itself is kept: a dict in place of a record, or no mapping."""
    plain = plain_kind(kind)
    wanted_class = get_origin(plain) or plain
    is_struct = isinstance(wanted_class, type) and issubclass(wanted_class, msgspec.Struct)
    is_record = is_struct or is_dataclass(wanted_class) or wanted_class is Mapping
    if is_record and given is not None and not isinstance(given, wanted_class):
        raise ConfigError(f"{name} is {shown(given)}: it must be a {wanted_class.__name__}")


def _typed(name: str, given: object, kind: Any) -> Any:
    try:
        return msgspec.convert(given, kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter: a lone surrogate
        if _OUT_OF_RANGE.match(str(error)) and " - at " not in str(error):
            raise ConfigError(f"{name} is {shown(given)}; it must be {wanted(kind)}") from None
        raise ConfigError(f"{name} is {shown(given)}: {_lower_case(str(error))}") from None


@cache
def _hints(options: Hashable) -> tuple[tuple[str, Any], ...]:
    hints = get_type_hints(options, include_extras=True)
    return tuple((name, kind) for name, kind in hints.items() if "Callable" not in str(kind))


@cache
def _kinds(settings: type[Setting]) -> tuple[tuple[str, Any], ...]:
    return tuple((one.name, one.type) for one in msgspec.structs.fields(settings))


def _in_words(error: Exception, settings: type[Setting], data: Any) -> str:
    """Format a message with the setting's name first: ``towers.hidden: expected `int`, got `str```.

    :param data: what was parsed, where it could be, to quote a value that is out of range.
    """
    message, _, path = str(error).partition(" - at `$.")
    path = path.rstrip("`")
    name = re.split(r"\[", path)[0]
    kind, value = _at(name.split("."), settings, data) if name else (None, None)
    if kind is not None and _OUT_OF_RANGE.match(message):
        return f"{name} is {shown(value)}; it must be {wanted(kind)}"
    if path and re.match(r"\w+ is .*; it must be ", message):  # what the settings inside say of their own
        return f"{path}.{message}"
    return f"{path}: {_lower_case(message)}" if path else _lower_case(message)


def _plain(data: bytes | str) -> Any:
    """Parse JSON that is not what was wanted, to quote from it; None for what can't be parsed."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def _at(path: list[str], settings: type[Setting], data: Any) -> tuple[Any, Any]:
    """Return the type and the value of a setting; None for the type of what is none."""
    kind: Any = settings
    for name in path:
        if not (isinstance(kind, type) and issubclass(kind, Setting)):
            return None, None
        kind = plain_kind(dict(_kinds(kind)).get(name)) if name != path[-1] else dict(_kinds(kind)).get(name)
        data = data.get(name) if isinstance(data, Mapping) else None
    return kind, data


def _lower_case(message: str) -> str:
    return f"{message[:1].lower()}{message[1:]}" if message.startswith(("Expected", "Object", "Invalid")) else message


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Raise unless ``condition`` holds.

    :param expected: the valid values, for the message.
    :raises ConfigError: naming the setting, its value and the valid values.
    """
    if not condition:
        raise ConfigError(f"{name} is {shown(value)}; it must be {expected}")
