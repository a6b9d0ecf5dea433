"""Numbers in declared fields: what is taken, what is refused with the way out, and what comparisons find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asked import by_text

from hybrid_search.filters.parser import parse_filter
from hybrid_search.protocols import Engine
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document

Maker = Callable[[IndexSettings], Engine]


def priced(id: str, price: Any) -> Document:
    return Document(id, "tea", metadata={"price": price})


def found(engine: Engine, filter: str) -> set[str]:
    return set(by_text(engine, ["tea"], 10, parse_filter(filter))[0].ids)


def test_a_fraction_after_a_whole_number_is_refused_with_the_option_that_declares_the_field(engine: Engine) -> None:
    [rejection] = engine.add([priced("a", 10), priced("b", 9.99)], None)
    assert rejection.field == "price"
    assert rejection.reason == (
        "price is 9.99, which is double; the index has it as long, as it was declared or as its first value was; for "
        "both declare it when the index is made: --field price:double (LoadOptions or IndexSettings: "
        "fields={'price': 'double'})"
    )
    engine.commit()
    assert engine.count() == 1


def test_a_field_declared_as_double_takes_both(make_engine: Maker) -> None:
    engine = make_engine(IndexSettings(fields={"price": "double"}))
    assert engine.add([priced("a", 10), priced("b", 9.99)], None) == []
    engine.commit()
    assert found(engine, "price >= 9.99") == {"a", "b"}
    assert found(engine, "price > 9.99") == {"a"}
    assert found(engine, "price = 10") == found(engine, "price = 10.0") == {"a"}


def test_a_whole_number_written_with_a_point_is_one(engine: Engine) -> None:
    documents = [priced("a", 10), priced("b", 11.0), priced("c", -(2.0**63))]
    assert engine.add([*documents, priced("d", 2.0**63), priced("e", True)], None)[0].reason.startswith("price is 9.22")
    engine.commit()
    assert engine.get(["a", "b", "c", "d", "e"]) == [*documents, None, None]
    assert found(engine, "price = 11") == found(engine, "price in (11, 12)") == {"b"}
    assert found(engine, "price < 0") == {"c"}


@pytest.mark.parametrize(
    ("filter", "right"),
    [
        ("price >= 9.5", {"ten", "most"}),
        ("price > 9.5", {"ten", "most"}),
        ("price <= 9.5", {"nine", "least"}),
        ("price < 9.5", {"nine", "least"}),
        ("price >= 9.0 and price < 9.1", {"nine"}),
        ("price = 9.5", set()),
        ("price != 9.5", {"nine", "ten", "most", "least"}),
        ("price = 9.0", {"nine"}),
        ("price in (8.5, 9.5, 10.0)", {"ten"}),
        ("price < 1e300", {"nine", "ten", "most", "least"}),
        ("price >= 9223372036854775808", set()),
        ("price >= 9223372036854775807", {"most"}),
        ("price <= -9223372036854775808", {"least"}),
        ("price < -1e300", set()),
        ("not price < -1e300", {"nine", "ten", "most", "least"}),
    ],
)
def test_whole_numbers_are_compared_with_any_number(make_engine: Maker, filter: str, right: set[str]) -> None:
    engine = make_engine(IndexSettings())
    prices = {"nine": 9, "ten": 10, "most": 2**63 - 1, "least": -(2**63)}
    assert engine.add([priced(id, price) for id, price in prices.items()], None) == []
    engine.commit()
    assert found(engine, filter) == right
