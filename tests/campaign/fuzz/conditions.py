"""Filters: how they are drawn, and what each means, written by hand beside both engines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from campaign.fuzz.strategies import ANY, FIELDS, NUMBERS, TEXTS
from hybrid_search import HybridSearchError
from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Term, Terms

__all__ = ["CLEAN", "CONDITIONS", "KINDS", "as_text", "fits", "leaves", "may_be_refused"]

KINDS = {
    "lang": "keyword",
    "year": "long",
    "price": "double",
    "open": "boolean",
    "tags": "keyword",
    "a.b": "keyword",
    "x y": "long",
}
"""The fields that the attacks declare, with their types."""

_VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "lang": st.sampled_from(["en", "de", "", "EN", "é", "e\u0301", "en ", "zz", '"', "\\", "a\x00b"]),
    "year": st.one_of(st.integers(1997, 2004), st.integers(-(2**63), 2**63 - 1)),
    "price": st.one_of(
        st.floats(0, 4).map(lambda one: round(one, 1)), st.sampled_from([-0.0, 0.0, 0, 9.99, 10, 1e300])
    ),
    "open": st.booleans(),
    "tags": st.sampled_from(["a", "b", "c", "", "zz"]),
    "a.b": st.sampled_from(["x", "y", "z"]),
    "x y": st.integers(-1, 3),
}


def _made(kind: Any, *parts: Any) -> Any:
    """Make a filter, or what stands for one that can't even be made."""
    try:
        return kind(*parts)
    except HybridSearchError:
        return parts


def _leaf(field: str) -> st.SearchStrategy[Filter]:
    value = _VALUES[field]
    bounds = [
        st.builds(
            lambda bound, name: Range(field, **{name: bound}), value, st.sampled_from(["gte", "gt", "lte", "lt"])
        ),
        st.builds(lambda low, high: Range(field, gte=low, lt=high), value, value),
        st.builds(lambda low, high: Range(field, gt=low, lte=high), value, value),
    ]
    return st.one_of(
        st.builds(Term, st.just(field), value),
        st.builds(Terms, st.just(field), st.lists(value, min_size=1, max_size=4).map(tuple)),
        st.just(Exists(field)),
        *([] if field == "open" else bounds),
    )


_LEAVES: st.SearchStrategy[Filter] = st.one_of(*map(_leaf, sorted(KINDS)))


@st.composite
def _trees(draw: st.DrawFn, leaves: st.SearchStrategy[Any], least: int, depth: int = 3) -> Any:
    """Draw a tree: ``st.recursive`` would, at several times the cost."""
    kind = draw(_BRANCHES) if depth else None
    if kind is None:
        return draw(leaves)
    if kind is Not:
        return Not(draw(_trees(leaves, least, depth - 1)))
    return kind(tuple(draw(_trees(leaves, least, depth - 1)) for _ in range(draw(_COUNTS[least]))))


_BRANCHES = st.sampled_from([None, None, Not, And, Or])
_COUNTS = {least: st.integers(least, 3) for least in (0, 2)}

CLEAN: st.SearchStrategy[Filter] = _trees(_LEAVES, 2)
"""Trees over the declared fields with values of their types, nothing degenerate."""

_EMPTY = st.one_of(st.just(And(())), st.just(Or(())), st.builds(Terms, st.sampled_from(sorted(KINDS)), st.just(())))
_DEEP = st.builds(
    lambda leaf, depth, kind: _wrapped(leaf, depth, kind),
    _LEAVES,
    st.sampled_from([3, 30, 70, 150]),
    st.sampled_from([Not, lambda one: And((one,)), lambda one: Or((one,))]),
)
_WIDE = st.builds(
    lambda kind, count: kind((*(Term("lang", f"v{number}") for number in range(count)), Term("lang", "en"))),
    st.sampled_from([And, Or]),
    st.sampled_from([10, 1_030]),
)
_NAMES = st.one_of(st.sampled_from([*FIELDS, "missing"]), TEXTS)
_ODD_LEAVES = st.one_of(
    st.builds(Term, _NAMES, st.one_of(TEXTS, NUMBERS, st.booleans(), ANY)),
    st.builds(
        _made,
        st.just(Terms),
        _NAMES,
        st.one_of(st.lists(st.one_of(TEXTS, NUMBERS, st.booleans()), max_size=3).map(tuple), ANY),
    ),
    st.builds(Range, _NAMES, gte=st.one_of(st.none(), ANY), lt=st.one_of(st.none(), ANY)),
    st.builds(Range, st.sampled_from(sorted(KINDS)), gt=NUMBERS, lte=st.one_of(st.none(), NUMBERS)),
    st.builds(Term, st.sampled_from(["year", "price", "x y"]), NUMBERS),
    st.builds(Exists, st.one_of(_NAMES, ANY)),
    st.builds(_made, st.sampled_from([Not, And, Or]), ANY),
    st.builds(_made, st.just(Or), st.lists(ANY, max_size=2).map(tuple)),
)
CONDITIONS: st.SearchStrategy[Any] = st.one_of(
    CLEAN,
    CLEAN,
    CLEAN,
    _trees(st.one_of(_LEAVES, _EMPTY), 0),
    _trees(st.one_of(_LEAVES, _ODD_LEAVES), 0),
    st.one_of(_DEEP, _DEEP, _DEEP, _WIDE),
)
"""Trees of any kind: most of them clean, some degenerate, deep or wide, some with wrong names, types and parts."""


def _wrapped(leaf: Any, depth: int, kind: Any) -> Any:
    for _ in range(depth):
        leaf = kind(leaf)
    return leaf


def leaves(filter: Any) -> int:
    """Count the conditions of a filter."""
    match filter:
        case And(parts) | Or(parts) if isinstance(parts, tuple):
            return sum(map(leaves, parts))
        case Not(part):
            return leaves(part)
    return 1


def may_be_refused(filter: Any, kinds: Mapping[str, str], depth: int = 0) -> bool:
    """Tell whether a filter has anything that an engine has a reason to refuse."""
    if depth > 40:
        return True
    match filter:
        case And(parts) | Or(parts):
            return not isinstance(parts, tuple) or any(may_be_refused(part, kinds, depth + 1) for part in parts)
        case Not(part):
            return may_be_refused(part, kinds, depth + 1)
        case Exists(field):
            return not _known(field, kinds)
        case Term(field, value):
            return not _known(field, kinds) or not _typed(value, kinds[field])
        case Terms(field, values):
            known = _known(field, kinds) and isinstance(values, tuple)
            return not known or not all(_typed(value, kinds[field]) for value in values)
        case Range(field, gte, gt, lte, lt):
            bounds = [bound for bound in (gte, gt, lte, lt) if bound is not None]
            known = _known(field, kinds) and kinds[field] != "boolean" and bounds
            return not known or not all(_typed(bound, kinds[field]) for bound in bounds)
    return True


def _known(field: Any, kinds: Mapping[str, str]) -> bool:
    return isinstance(field, str) and field in kinds


def _typed(value: Any, kind: str) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "keyword":
        return isinstance(value, str) and not any(0xD800 <= ord(one) < 0xE000 for one in value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(_bounded(value)):
        return False
    return (isinstance(value, int) and -(2**63) <= value < 2**63) or (kind == "double" and isinstance(value, float))


def _bounded(value: float) -> float:
    return value if isinstance(value, float) else 0.0


def fits(filter: Filter, metadata: Mapping[str, Any], kinds: Mapping[str, str]) -> bool:
    """Tell whether a document's metadata fit a filter.

    :raises LookupError: if the filter has no meaning, as with a field that nobody declared.
    """
    match filter:
        case And(parts):
            return all(fits(part, metadata, kinds) for part in parts)
        case Or(parts):
            return any(fits(part, metadata, kinds) for part in parts)
        case Not(part):
            return not fits(part, metadata, kinds)
        case Exists(field):
            return bool(_values(field, metadata, kinds))
        case Term(field, value):
            return any(_same(one, value, kinds[field]) for one in _values(field, metadata, kinds))
        case Terms(field, values):
            return any(_same(one, value, kinds[field]) for one in _values(field, metadata, kinds) for value in values)
        case Range(field, gte, gt, lte, lt):
            return any(
                (gte is None or one >= gte)
                and (gt is None or one > gt)
                and (lte is None or one <= lte)
                and (lt is None or one < lt)
                for one in _values(field, metadata, kinds)
            )
    raise LookupError(f"{filter!r} means nothing")


def _values(field: str, metadata: Mapping[str, Any], kinds: Mapping[str, str]) -> tuple[Any, ...]:
    if field not in kinds:
        raise LookupError(f"there is no field {field!r}")
    if field not in metadata:
        return ()
    value = metadata[field]
    return value if isinstance(value, tuple) else (value,)


def _same(stored: Any, value: Any, kind: str) -> bool:
    if (kind == "boolean") != isinstance(value, bool) or (kind == "keyword") != isinstance(value, str):
        raise LookupError(f"{value!r} is no {kind}")
    return bool(stored == value)


def as_text(filter: Filter) -> str:
    """Write a clean filter in the small language, everything in quotes and parentheses."""
    match filter:
        case And(parts):
            return "(" + " and ".join(as_text(part) for part in parts) + ")"
        case Or(parts):
            return "(" + " OR ".join(as_text(part) for part in parts) + ")"
        case Not(part):
            return f"not {as_text(part)}"
        case Exists(field):
            return f"exists({_quoted(field)})"
        case Term(field, value):
            return f"{_quoted(field)} = {_value(value)}"
        case Terms(field, values):
            return f"{_quoted(field)} in ({', '.join(map(_value, values))})"
        case Range(field, gte, gt, lte, lt):
            named = {">=": gte, ">": gt, "<=": lte, "<": lt}
            parts = [f"{_quoted(field)} {sign} {_value(bound)}" for sign, bound in named.items() if bound is not None]
            return parts[0] if len(parts) == 1 else "(" + " and ".join(parts) + ")"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else repr(value)
