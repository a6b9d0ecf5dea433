from __future__ import annotations

import pytest

from hybrid_search.errors import FilterError
from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Term, Terms, check_filter
from hybrid_search.filters.parser import parse_filter
from hybrid_search.settings.index import FieldType

FIELDS: dict[str, FieldType] = {"lang": "keyword", "year": "long", "price": "double", "open": "boolean", "day": "date"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lang = en", Term("lang", "en")),
        ("lang == 'en'", Term("lang", "en")),
        ('lang = "a \\"b\\" c"', Term("lang", 'a "b" c')),
        ('lang = "2020"', Term("lang", "2020")),
        ('"field name"=x', Term("field name", "x")),
        ("naïve = 東京", Term("naïve", "東京")),
        ("year = -5", Term("year", -5)),
        ("year = 1e3", Term("year", 1000.0)),
        ("year = -1000000000000000001", Term("year", -1_000_000_000_000_000_001)),
        ("year = 9223372036854775807", Term("year", 9_223_372_036_854_775_807)),
        ("price > 9223372036854775808", Range("price", gt=9_223_372_036_854_775_808.0)),
        ("price=.5", Term("price", 0.5)),
        ("date >= 2024-01-31", Range("date", gte="2024-01-31")),
        ("date > 2024-01-31T10:30:00.5+02:00", Range("date", gt="2024-01-31T10:30:00.5+02:00")),
        ("date in (2024-01-31T10:30Z,2024-01-31)", Terms("date", ("2024-01-31T10:30Z", "2024-01-31"))),
        ("open = true", Term("open", True)),
        ("open = FALSE", Term("open", False)),
        ("lang != en", Not(Term("lang", "en"))),
        ("year < 1", Range("year", lt=1)),
        ("year<=1", Range("year", lte=1)),
        ("year > 1", Range("year", gt=1)),
        ("lang in (en, 'de', fr)", Terms("lang", ("en", "de", "fr"))),
        ("lang not in (en)", Not(Terms("lang", ("en",)))),
        ("exists(year)", Exists("year")),
        ("exists = 1", Term("exists", 1)),
        ("NOT exists(year)", Not(Exists("year"))),
        ("a = 1 and b = 2 and c = 3", And((Term("a", 1), Term("b", 2), Term("c", 3)))),
        ("a = 1 or b = 2 and c = 3", Or((Term("a", 1), And((Term("b", 2), Term("c", 3)))))),
        ("(a = 1 or b = 2) and c = 3", And((Or((Term("a", 1), Term("b", 2))), Term("c", 3)))),
        ("not a = 1 and b = 2", And((Not(Term("a", 1)), Term("b", 2)))),
        ("not not a = 1", Not(Not(Term("a", 1)))),
    ],
)
def test_an_expression_is_read_as_its_tree(text: str, expected: Filter) -> None:
    assert repr(parse_filter(text)) == repr(expected)  # repr tells True from 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"position 1: expected a field name, 'not', 'exists' or '\(', got the end"),
        ("year", r"position 5: expected one of = != < <= > >= in, got the end"),
        ("year 2020", r"position 6: expected one of = .*, got '2020'"),
        ("year =", r"position 7: expected a value .*, got the end"),
        ("year = and", r"position 8: expected a value .*, got 'and'"),
        ("year = 1 lang = en", r"position 10: expected 'and', 'or' or the end, got 'lang'"),
        ("(year = 1", r"position 10: expected '\)', got the end"),
        ("lang in en", r"position 9: expected '\(', got 'en'"),
        ("lang in ()", r"position 10: expected a value"),
        ("lang in (en de)", r"position 13: expected '\)', got 'de'"),
        ("lang not like x", r"position 10: expected 'in', got 'like'"),
        ('lang = "en', r"position 8: can't read '\"' here"),
        ("lang = en & x = 1", r"position 11: can't read '&' here"),
        ("exists(", r"position 8: expected a field name"),
        ("(" * 60 + "a = 1" + ")" * 60, r"position 52: expected at most 50 levels of nesting"),
    ],
)
def test_a_mistake_is_named_with_its_position_and_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        parse_filter(text)


@pytest.mark.parametrize(
    "text",
    [
        "lang = en",
        "lang > a",
        "year in (1, 2)",
        "price > 1",
        "price > 1.5",
        "open = true",
        "exists(open) or year < 3",
        "day < 2024-01-31",
    ],
)
def test_a_filter_that_fits_the_fields_passes(text: str) -> None:
    check_filter(parse_filter(text), FIELDS)


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        (Term("lang", 2020), r"'lang' is keyword, so it compares with text in quotes, as in \"en\", not with 2020"),
        (Term("year", "2020"), "'year' is long, so it compares with a number, not with '2020'"),
        (Term("year", True), "a number, not with True"),
        (Range("year", gte=float("nan")), "a number, not with nan"),
        (Term("price", float("nan")), "'price' is double"),
        (Term("open", 1), "true or false, not with 1"),
        (Range("day", gte=2024), "'day' is date, so it compares with a date, as in 2024-05-01, .*, not with 2024$"),
        (Term("day", "1.5.2024"), "'day' is date, .* not with '1.5.2024'"),
        (Range("open", gt=True), "'open' is boolean and has no order"),
        (Range("year"), "range over 'year' has no bound"),
        (Terms("lang", ("en", 1)), "'lang' is keyword"),
        (
            And((Exists("year"), Not(Or((Exists("nowhere"),))))),
            r"no field 'nowhere'; its fields are: day \(date\), lang \(keyword\), ",
        ),
    ],
)
def test_a_filter_that_does_not_fit_is_refused(filter: Filter, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        check_filter(filter, FIELDS)


def test_an_index_without_fields_says_so() -> None:
    with pytest.raises(FilterError, match="its fields are: none"):
        check_filter(Exists("year"), {})
