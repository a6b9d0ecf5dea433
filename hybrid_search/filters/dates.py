"""Dates of metadata: all that is read becomes one text, ``2024-05-01T10:30:00.000Z``, which sorts as time does."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from hybrid_search.errors import shown

__all__ = ["EXPECTED", "as_a_server_reads", "canonical", "first_and_last", "of_milliseconds"]

EXPECTED = "a date, as in 2024-05-01, 2024-05-01T10:30:00Z or, in milliseconds since 1970, 1714559400000"

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_HOUR = r"(?:[01]\d|2[0-3])"
_ZONE = rf"(?:Z|[+-]{_HOUR}(?::?[0-5]\d)?)"
_SHAPE = re.compile(rf"{_DAY.pattern}(?:[T ]{_HOUR}:[0-5]\d(?::[0-5]\d(?:[.,]\d{{1,9}})?)?{_ZONE}?)?", re.ASCII)
_MILLISECONDS = re.compile(r"-?\d{11,}", re.ASCII)
"""Texts with fewer digits may be meant otherwise: ``20240501``, or seconds since 1970."""

_A_YEAR = 9_999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def canonical(value: Any) -> str:
    """Return the text of a date: in UTC, to the millisecond; what is finer is cut off.

    :param value: ISO 8601 text, a date or a date and time, without a zone in UTC; a ``datetime.date`` or
        ``datetime.datetime``, likewise; or milliseconds since 1970, a whole number of more than four digits (a server
        would read a year), as a text of more than ten.
    :raises ValueError: if it is none of this, or outside of the years 1 to 9999; says why.
    """
    if isinstance(value, date):
        return _of_text(value.isoformat(), value.isoformat())
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{shown(value)} is no date; give {EXPECTED}")
    if isinstance(value, str):
        text = value.strip().upper()
        if _SHAPE.fullmatch(text):
            return _of_text(text, value)
        if not _MILLISECONDS.fullmatch(text):
            raise ValueError(f"{shown(value)} is no date; give {EXPECTED}")
        return of_milliseconds(_whole(text, value))
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{shown(value)} is no whole number of milliseconds; give {EXPECTED}")
    if -_A_YEAR <= value <= _A_YEAR:
        raise ValueError(f"{shown(value)} may be a year or milliseconds since 1970; give {EXPECTED}")
    return of_milliseconds(int(value))


def _of_text(text: str, given: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
        return _text(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC))
    except ValueError as error:  # no such day, or the year 0
        raise ValueError(f"{shown(given)} is no date: {error}") from None
    except OverflowError:
        raise ValueError(f"{shown(given)} is outside of the years 1 to 9999 in UTC") from None


def of_milliseconds(milliseconds: int) -> str:
    """Return the text of a number of milliseconds since 1970.

    :raises ValueError: if it is outside of the years 1 to 9999.
    """
    try:
        return _text(_EPOCH + timedelta(milliseconds=milliseconds))
    except OverflowError:
        raise ValueError(f"{shown(milliseconds)} milliseconds since 1970 are outside of the years 1 to 9999") from None


def first_and_last(value: Any) -> tuple[str, str]:
    """Return the texts of the first and the last millisecond that a value in a filter stands for: a day is all of it.

    :raises ValueError: as :func:`canonical`.
    """
    first = canonical(value)
    if isinstance(value, str):
        is_day = _DAY.fullmatch(value.strip()) is not None
    else:
        is_day = isinstance(value, date) and not isinstance(value, datetime)
    return first, f"{first[:11]}23:59:59.999Z" if is_day else first


def as_a_server_reads(value: Any) -> str | None:
    """Return the text of a date that others have stored on a server, which takes more forms; None if it is no date."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value)
    try:
        if re.fullmatch(r"\d{4}", text, re.ASCII):
            return canonical(f"{text}-01-01")
        if re.fullmatch(r"\d{4}-\d\d", text, re.ASCII):
            return canonical(f"{text}-01")
        if re.fullmatch(r"-?\d+(\.\d*)?", text, re.ASCII):
            return of_milliseconds(math.floor(Decimal(text[:40])))
        if hour := re.fullmatch(rf"({_DAY.pattern}T\d\d)({_ZONE}?)", text, re.ASCII):
            return canonical(f"{hour[1]}:00{hour[2]}")
        return canonical(text.removesuffix("T") if isinstance(value, str) else value)
    except ValueError:
        return None


def _whole(digits: str, given: Any) -> int:
    if len(digits) > 20:  # Python refuses to convert thousands of digits
        raise ValueError(f"{shown(given)} milliseconds since 1970 are outside of the years 1 to 9999")
    return int(digits)


def _text(moment: datetime) -> str:
    return f"{moment.isoformat(timespec='milliseconds')[:23]}Z"
