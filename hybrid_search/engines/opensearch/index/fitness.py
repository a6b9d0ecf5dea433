"""Finds settings and mappings that make an index unusable, set by an index template or by hand. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from hybrid_search.engines.opensearch.index.document_json import field_name
from hybrid_search.settings.index import FieldType

__all__ = [
    "DATE_FORMAT",
    "LEAST_PAGE",
    "declared_fields",
    "faults_of_mapping",
    "faults_of_settings",
    "other_fields",
    "pipelines_of",
]

LEAST_PAGE = 1_000
"""Hits per request when documents are read one after the other."""

_TYPES = ("keyword", "long", "double", "boolean")
DATE_FORMAT = "strict_date_optional_time||epoch_millis"
_DATE_FORMATS = (DATE_FORMAT, f"strict_date_time_no_millis||{DATE_FORMAT}", "strict_date_optional_time")
"""The formats of date fields that filters can use: this package's own, and those that read the same of a text."""
_HARMLESS = frozenset(
    {
        "type", "format", "index", "doc_values", "store", "copy_to", "meta", "fields", "coerce", "norms", "similarity",
        "index_options", "eager_global_ordinals", "split_queries_on_whitespace", "boost",
    }
)  # fmt: skip
"""What a field may be declared with and still be compared as a filter expects; ``ignore_above`` hides long values."""
_WINDOW = "index.max_result_window"
_PIPELINES = ("index.default_pipeline", "index.final_pipeline")
_SHOWN = ("id", "text", "title", "added")

Json = Mapping[str, Any]


def declared_fields(mapping: Json) -> dict[str, FieldType]:
    """Return the metadata fields that filters can use.

    :param mapping: the index's ``mappings`` object.
    """
    return {field_name(name): one["type"] for name, one in _properties(mapping).items() if _is_ours(one)}


def other_fields(mapping: Json) -> dict[str, str]:
    """Return metadata fields declared otherwise, by others: name -> how; filters can't use them."""
    return {field_name(name): _told(one) for name, one in _properties(mapping).items() if not _is_ours(one)}


def faults_of_mapping(mapping: Json) -> Iterator[str]:
    """Yield what in a mapping prevents reading documents; nothing for a mapping as this package makes it."""
    source = mapping.get("_source", {})
    if source.get("enabled") in (False, "false"):
        yield "_source is off, so its documents can't be shown or read again"
    elif hidden := sorted(name for name in _kept(mapping) if _is_left_out(name, source)):
        yield f"_source is kept without {', '.join(hidden)}, so its documents can't be shown or read again whole"
    if mapping.get("_routing", {}).get("required") in (True, "true"):
        yield "_routing is required, and documents are sent and fetched by their ids alone"


def faults_of_settings(settings: Mapping[str, str]) -> Iterator[str]:
    """Yield what in an index's settings (flat, by full names) prevents reading documents."""
    window = int(settings.get(_WINDOW, 10 * LEAST_PAGE))
    if window < LEAST_PAGE:
        problem = f"{_WINDOW} is {window}, and up to {LEAST_PAGE} hits are asked for at once"
        yield f'{problem}: raise it with PUT /INDEX/_settings {{"{_WINDOW}": {10 * LEAST_PAGE}}}'


def pipelines_of(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the ingest pipelines that every document passes: setting -> name."""
    return {key: settings[key] for key in _PIPELINES if settings.get(key, "_none") not in ("", "_none")}


def _properties(mapping: Json) -> Mapping[str, Json]:
    found: Mapping[str, Json] = mapping.get("properties", {}).get("metadata", {}).get("properties", {})
    return found


def _is_ours(declared: Json) -> bool:
    """Return whether a field is declared as this package does it, or compares in the same way."""
    if declared.get("type") == "date":
        is_known = declared.get("format", DATE_FORMAT) in _DATE_FORMATS
    else:
        is_known = declared.get("type") in _TYPES
    return is_known and not _hiding(declared)


def _hiding(declared: Json) -> list[str]:
    """Return what a field is declared with that keeps values from filters or facets, or changes them."""
    off = [name for name in ("index", "doc_values") if declared.get(name, True) in (False, "false")]
    return off + sorted(
        name for name, value in declared.items() if name not in _HARMLESS and value not in (False, None)
    )


def _told(declared: Json) -> str:
    kind, hiding = str(declared.get("type", "object")), _hiding(declared)
    return f"{kind} with {', '.join(hiding)}" if kind in _TYPES and hiding else kind


def _kept(mapping: Json) -> Iterator[str]:
    yield from _SHOWN
    yield "metadata"
    yield from (f"metadata.{name}" for name in _properties(mapping))


def _is_left_out(name: str, source: Json) -> bool:
    includes, excludes = source.get("includes") or ["*"], source.get("excludes") or []
    return not _fits(name, includes) or _fits(name, excludes)


def _fits(name: str, patterns: Any) -> bool:
    each = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatchcase(name, one) or name.startswith(f"{one}.") for one in each)
