"""The filter tree over metadata fields, parsed and checked here; each engine renders it. Layer 1."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["And", "Exists", "Filter", "Not", "Or", "Range", "Scalar", "Term", "Terms"]

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Term:
    """The field has this value (or it is among its values)."""

    field: str
    value: Scalar


@dataclass(frozen=True, slots=True)
class Terms:
    """The field has one of these values."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The field lies between bounds; None is open. Keywords compare by code point, so ISO dates work."""

    field: str
    gte: Scalar | None = None
    gt: Scalar | None = None
    lte: Scalar | None = None
    lt: Scalar | None = None


@dataclass(frozen=True, slots=True)
class Exists:
    """The field has a value."""

    field: str


@dataclass(frozen=True, slots=True)
class And:
    """All hold."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one holds."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The filter does not hold; a document without the field passes."""

    filter: Filter


Filter = Term | Terms | Range | Exists | And | Or | Not
