"""Converts filters to a server's queries, with as few clauses as possible, since a server limits them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from hybrid_search.engines.opensearch.index.document_json import metadata_path
from hybrid_search.errors import FilterError
from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Scalar, Term, Terms

__all__ = ["MOST_CLAUSES", "check_size", "filter_query", "room_for_words"]

Body = dict[str, Any]

MOST_CLAUSES = 1_024
"""Default limit of clauses in one search (``indices.query.bool.max_clause_count``)."""

_MOST_VALUES = 65_536
"""Limit of values in one list (``index.max_terms_count``)."""

_PER_CONDITION = 4
"""A server counts a condition on numbers twice, for its index and its column, in each of two legs."""

_SPARE = 8
_LEAST_WORDS = 100


def filter_query(filter: Filter) -> Body:
    """Convert a filter. Alternatives for the values of one field become one list of values."""
    match filter:
        case And(()):
            return {"match_all": {}}
        case And():
            return {"bool": {"filter": [filter_query(part) for part in _parts(filter)]}}
        case Or():
            return _any_of(_parts(filter))
        case Not(part):
            return {"bool": {"must_not": [filter_query(part)]}}
        case Term(field, value):
            return {"term": {metadata_path(field): {"value": value}}}
        case Terms(field, values):
            return _one_of(field, values)
        case Exists(field):
            return {"exists": {"field": metadata_path(field)}}
        case Range():
            return {"range": {metadata_path(filter.field): _bounds(filter)}}


def check_size(filter: Filter) -> None:
    """Check that a filter fits into a server's limits together with a query.

    :raises FilterError: if it has too many conditions.
    """
    most = (MOST_CLAUSES - _SPARE - _LEAST_WORDS) // _PER_CONDITION
    if (conditions := _conditions(filter_query(filter))) > most:
        raise FilterError(
            f"the filter has {conditions} conditions, and a server takes at most {most} with a query; give values of "
            f"one field as a list (field in (a, b)), or use an index in a folder, which takes any number"
        )


def room_for_words(filter: Filter | None) -> int:
    """Return how many distinct words fit beside a filter that passed :func:`check_size`."""
    taken = 0 if filter is None else _PER_CONDITION * _conditions(filter_query(filter))
    return MOST_CLAUSES - _SPARE - taken


def _bounds(range_: Range) -> dict[str, Scalar]:
    """Return one lower and one upper bound, the narrower ones, as a server takes only one of each."""
    gte, gt, lte, lt = (cast("Any", bound) for bound in (range_.gte, range_.gt, range_.lte, range_.lt))
    if gte is not None and gt is not None:
        gte, gt = (gte, None) if gte > gt else (None, gt)
    if lte is not None and lt is not None:
        lte, lt = (lte, None) if lte < lt else (None, lt)
    bounds = {"gte": gte, "gt": gt, "lte": lte, "lt": lt}
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _parts(filter: And | Or) -> Iterator[Filter]:
    """Yield the operands, with nested operands of the same operator flattened."""
    for part in filter.filters:
        if isinstance(part, type(filter)):
            yield from _parts(part)
        else:
            yield part


def _any_of(parts: Iterable[Filter]) -> Body:
    values: dict[str, list[Scalar]] = {}
    others: list[Body] = []
    for part in parts:
        match part:
            case Term(field, value):
                values.setdefault(field, []).append(value)
            case Terms(field, several):
                values.setdefault(field, []).extend(several)
            case _:
                others.append(filter_query(part))
    lists = [_one_of(field, of_field) for field, of_field in values.items()]
    return _should([*lists, *others])


def _one_of(field: str, values: Iterable[Scalar]) -> Body:
    listed = list({repr(value): value for value in values}.values())  # -0.0 and 0.0 are two to a server
    starts = range(0, len(listed), _MOST_VALUES)
    return _should([{"terms": {metadata_path(field): listed[start : start + _MOST_VALUES]}} for start in starts])


def _should(queries: list[Body]) -> Body:
    if not queries:
        return {"match_none": {}}  # a server takes an empty list for no condition
    if len(queries) == 1:
        return queries[0]
    return {"bool": {"should": queries, "minimum_should_match": 1}}


def _conditions(query: Body) -> int:
    ((kind, content),) = query.items()
    if kind != "bool":
        return 1
    return sum(_conditions(part) for occur in ("filter", "should", "must_not") for part in content.get(occur, ()))
