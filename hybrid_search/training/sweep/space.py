"""What a sweep may try: for each setting, by its name, a list of values or a range. Needs no optuna."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import exp, log, prod
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np

from hybrid_search.errors import ConfigError, shown
from hybrid_search.storage import disk_errors
from hybrid_search.training.recipes import TrainSettings

__all__ = [
    "Domain",
    "Range",
    "Sampler",
    "Space",
    "as_toml",
    "changed",
    "check_space",
    "contains",
    "grid",
    "parse_space",
    "read_space",
    "rounded",
    "values_of",
]

Sampler = Literal["tpe", "random", "grid"]

_POINTS = 4
"""Values of a range without a step in a grid."""

_CELLS = 100_000
"""Most combinations of a grid."""

_COMPARABLE = (
    "training.seed", "training.max_samples", "training.validation_share", "training.validation_least",
    "training.validation_queries", "training.validation_documents",
)  # fmt: skip
"""Settings that change the queries or the documents that trials are measured on."""


class Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Numbers from ``low`` to ``high``, both included; evenly over their logarithms with ``log``."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low:g} and high {self.high:g}; low must be below high")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("with log, low must be above 0, and there is no step")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step is {self.step:g}; it must be above 0")

    @property
    def is_whole(self) -> bool:
        """Whether it is of whole numbers."""
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))

    def points(self) -> list[int | float]:
        """Return the values of a grid."""
        if self.step is not None:
            count = int((self.high - self.low) / self.step + 1e-9) + 1
            return [rounded(self.low + place * self.step, self) for place in range(count)]
        ends = (log(self.low), log(self.high)) if self.log else (self.low, self.high)
        values = np.linspace(*ends, _POINTS).tolist()
        return list(dict.fromkeys(rounded(exp(value) if self.log else value, self) for value in values))


Domain: TypeAlias = "Range | Sequence[Any]"
Space: TypeAlias = Mapping[str, Domain]
"""Name of a setting, as ``hybrid-search settings`` lists it -> what may be tried."""


def rounded(value: float, of: Range) -> int | float:
    """Return a number that can be written down: whole, or with three digits that count."""
    return round(value) if of.is_whole else float(f"{value:.3g}")


def read_space(path: Path) -> Space:
    """Read a space from a file of TOML (``.toml``) or JSON: see :func:`parse_space`.

    :raises ConfigError: if it is no such file.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file; `hybrid-search sweep --show-space` prints one to begin with")
    with disk_errors(f"reading {path}"):
        data = path.read_bytes()
    try:
        found = tomllib.loads(data.decode()) if path.suffix == ".toml" else msgspec.json.decode(data)
    except (ValueError, RecursionError) as error:  # both decoders' errors are ValueErrors
        form = "TOML" if path.suffix == ".toml" else "JSON (TOML is in a file named .toml)"
        raise ConfigError(f"{path} is no {form}: {error}") from error
    return parse_space(found, source=str(path))


def parse_space(given: object, *, source: str = "space") -> Space:
    """Build a space from plain values: a setting's name -> a list of values, or ``{low, high, log, step}``.

    Names may be nested: ``{"training": {"temperature": [0.05, 0.1]}}``.

    :raises ConfigError: naming what is none of these.
    """
    found: dict[str, Domain] = {}
    pending: list[tuple[str, object]] = [("", given)]
    while pending:
        name, value = pending.pop()
        if isinstance(value, Range):
            found[name] = value
        elif isinstance(value, Mapping) and "low" not in value and "high" not in value:
            pending += [(f"{name}.{key}" if name else str(key), one) for key, one in value.items()]
        elif isinstance(value, Mapping):
            found[name] = _range(name, value, source)
        elif isinstance(value, (list, tuple)) and value and name:
            found[name] = tuple(_plain(value))
        else:
            what = name or "it"
            raise ConfigError(f"{source}: {what} is {shown(value)}; it must be a list of values or {{low, high}}")
    if not found:
        raise ConfigError(f"{source}: there is nothing to try in it; give a list of values or {{low, high}} by setting")
    return dict(sorted(found.items()))


def _range(name: str, value: Mapping[Any, Any], source: str) -> Range:
    try:
        return msgspec.convert(value, Range)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {name} is {shown(dict(value))}: {error}") from error


def check_space(space: Space, base: TrainSettings, *, why_fixed: Callable[[str], str]) -> None:
    """Check each value of a space with the settings that the trials share.

    :param why_fixed: returns why a setting can't be tried; empty if it can.
    :raises ConfigError: naming the setting.
    """
    for name, domain in space.items():
        if name in _COMPARABLE:
            raise ConfigError(
                f"{name} changes what trials are measured on, so they could not be compared; leave it out"
            )
        if reason := why_fixed(name):
            raise ConfigError(f"{name} can't be tried: {reason}")
        for value in (domain.low, domain.high) if isinstance(domain, Range) else domain:
            changed(base, {name: value})


def changed(base: TrainSettings, values: Mapping[str, Any]) -> TrainSettings:
    """Return settings with some changed, by their names.

    :raises ConfigError: on an unknown name, or a value that is out of range or contradicts another setting.
    """
    plain = _plain(base)
    for name, value in values.items():
        *parents, last = name.split(".")
        inner = plain
        for parent in parents:
            inner = inner.get(parent) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or last not in inner or isinstance(inner[last], dict):
            raise ConfigError(f"there is no setting {name!r} of towers or training; `hybrid-search settings` lists all")
        inner[last] = value
    return TrainSettings.from_mapping(plain, source="space")


def values_of(settings: TrainSettings, names: Sequence[str]) -> dict[str, Any]:
    """Return the values of settings, by their names."""
    found = {}
    for name in names:
        value: Any = _plain(settings)
        for part in name.split("."):
            value = value[part]
        found[name] = value
    return found


def contains(domain: Domain, value: Any) -> bool:
    """Return whether a space has a value of a setting."""
    if not isinstance(domain, Range):
        return value in domain
    if not isinstance(value, (int, float)) or not domain.low <= value <= domain.high:
        return False
    return domain.step is None or abs((value - domain.low) / domain.step % 1 - 0.5) > 0.499  # near a whole number


def grid(space: Space, seed: int) -> list[dict[str, Any]]:
    """Return all combinations of a space, in an order drawn with the seed, so that a part of them is a sample.

    :raises ConfigError: if there are too many.
    """
    values = [domain.points() if isinstance(domain, Range) else list(domain) for domain in space.values()]
    if (count := prod(map(len, values))) > _CELLS:
        raise ConfigError(f"the grid has {count:,} combinations, and {_CELLS:,} at most make sense; try fewer, or tpe")
    cells = [dict(zip(space, cell, strict=True)) for cell in product(*values)]
    return [cells[place] for place in np.random.default_rng(seed).permutation(len(cells))]


def as_toml(space: Space) -> str:
    """Write a space as :func:`read_space` reads it."""
    return "".join(f"{name} = {_toml(domain)}\n" for name, domain in space.items())


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, so that values can be compared wherever they are from."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _toml(domain: Domain) -> str:
    if isinstance(domain, Range):
        values = msgspec.to_builtins(domain)
        return f"{{ {', '.join(f'{key} = {_scalar(value)}' for key, value in values.items())} }}"
    return f"[{', '.join(map(_scalar, domain))}]"


def _scalar(value: Any) -> str:
    return msgspec.json.encode(value).decode()
