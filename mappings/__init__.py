"""What a cluster is told: index bodies and search pipelines, as JSON templates with parameters.

A template is JSON in which a value ``"{{name}}"`` stands for a parameter; :func:`render` takes exactly those that stand
in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from hybrid_search.errors import ConfigError

__all__ = ["parameters_of", "render"]

_OPENING, _CLOSING = "{{", "}}"


def render(name: str, **parameters: Any) -> dict[str, Any]:
    """Fill a template in.

    :param name: as in ``index/passages`` or ``pipelines/score_based``.
    :return: a new JSON object; the parameters' values are put in as they are.
    :raises ConfigError: if there is no such template, or a parameter is missing or unknown.
    """
    declared = parameters_of(name)
    if missing := sorted(declared - parameters.keys()):
        raise ConfigError(f"mappings/{name}.json: missing {', '.join(missing)}; it takes {', '.join(sorted(declared))}")
    if unknown := sorted(parameters.keys() - declared):
        raise ConfigError(f"mappings/{name}.json: unknown {', '.join(unknown)}; it takes {', '.join(sorted(declared))}")
    filled: dict[str, Any] = _filled(_template(name), parameters)
    return filled


def parameters_of(name: str) -> frozenset[str]:
    """Return the names of a template's parameters.

    :raises ConfigError: if there is no such template.
    """
    return frozenset(_parameters(_template(name)))


@cache
def _template(name: str) -> Any:
    place = files(__name__).joinpath(f"{name}.json")
    if not place.is_file():
        raise ConfigError(f"there is no mappings/{name}.json")
    return json.loads(place.read_text(encoding="utf-8"))


def _parameter(value: Any) -> str | None:
    if isinstance(value, str) and value.startswith(_OPENING) and value.endswith(_CLOSING):
        return value.removeprefix(_OPENING).removesuffix(_CLOSING)
    return None


def _parameters(part: Any) -> Iterator[str]:
    if name := _parameter(part):
        yield name
    for child in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _parameters(child)


def _filled(part: Any, parameters: dict[str, Any]) -> Any:
    if name := _parameter(part):
        return parameters[name]
    if isinstance(part, dict):
        return {key: _filled(value, parameters) for key, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, parameters) for value in part]
    return part
