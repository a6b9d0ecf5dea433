"""What is wrong with one argument of a request, in words of our own: pydantic's are for whoever wrote the schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["fault_of"]

_WORDS: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is no argument here; leave it out",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "finite_number": "must be a finite number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "lone_surrogate": "has a lone surrogate, half of a character; send valid Unicode",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object in braces, such as {{...}}",
    "model_attributes_type": "must be an object in braces, such as {{...}}",
    "too_short": "must hold at least {min_length}",
    "too_long": "must hold at most {max_length}",
    "string_too_long": "must have at most {max_length} characters",
    "json_invalid": "is no valid JSON: {error}",
}
"""pydantic's name of a fault -> what is said of it."""


def fault_of(error: Mapping[str, Any]) -> str:
    """Return what is wrong, to be read after the argument's name, from an entry of pydantic's ``errors()``."""
    words = _WORDS.get(error["type"])
    if words is None:
        return f"is refused: {error['msg']}"
    return words.format_map(error.get("ctx", {}))
