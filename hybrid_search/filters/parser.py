r"""A small language for filters: ``year >= 2020 and lang in (en, "pt-BR") and not exists(withdrawn)``.

::

    expression = and-part {"or" and-part}
    and-part   = part {"and" part}
    part       = "not" part | "(" expression ")" | "exists" "(" field ")" | field test
    test       = ("=" | "!=" | "<" | "<=" | ">" | ">=") value | ["not"] "in" "(" value {"," value} ")"
    value      = "text" | 'text' | number | true | false | date | word

A field or value with characters other than letters, digits and ``_ . + -`` must be quoted, but for a date with a time
(``2024-05-01T10:30:00Z``); ``\`` escapes a quote inside the quotes.
"""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from hybrid_search.errors import FilterError
from hybrid_search.filters import And, Exists, Filter, Not, Or, Range, Scalar, Term, Terms

__all__ = ["parse_filter"]

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<symbol><=|>=|!=|==|[=<>(),])
      | (?P<word>\d{4}-\d\d-\d\dT\d\d:[\w.:+-]+ | [\w.+-]+)
      | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_KEYWORDS = frozenset({"and", "or", "not", "in"})
_COMPARISONS = frozenset({"=", "==", "!=", "<", "<=", ">", ">="})
_DEEPEST = 50


class _Token(NamedTuple):
    kind: str
    text: str
    position: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else repr(self.text)


def parse_filter(text: str) -> Filter:
    """Read a filter expression; the module's docstring has the grammar. Keywords may be in either case.

    :raises FilterError: with the position (1-based) and what was expected there.
    """
    parser = _Parser(text)
    result = parser.expression(0)
    if parser.token.kind != "end":
        parser.fail("'and', 'or' or the end")
    return result


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next = 0

    @property
    def token(self) -> _Token:
        return self._tokens[self._next]

    def fail(self, expected: str) -> NoReturn:
        raise FilterError(
            f"filter {self._text!r}, position {self.token.position}: expected {expected}, got {self.token}"
        )

    def expression(self, depth: int) -> Filter:
        parts = [self._and_part(depth)]
        while self._take("or"):
            parts.append(self._and_part(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _and_part(self, depth: int) -> Filter:
        parts = [self._part(depth)]
        while self._take("and"):
            parts.append(self._part(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _part(self, depth: int) -> Filter:
        if depth > _DEEPEST:
            self.fail(f"at most {_DEEPEST} levels of nesting")
        if self._take("not"):
            return Not(self._part(depth + 1))
        if self._take("("):
            inner = self.expression(depth + 1)
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Filter:
        field = self._name()
        if field.kind == "word" and field.text.lower() == "exists" and self._take("("):
            inside = self._name()
            self._expect(")")
            return Exists(_plain(inside))
        if self._take("in"):
            return Terms(_plain(field), self._values())
        if self._take("not"):
            if not self._take("in"):
                self.fail("'in'")
            return Not(Terms(_plain(field), self._values()))
        return self._compared(_plain(field))

    def _compared(self, field: str) -> Filter:
        operator = self.token.text
        if self.token.kind != "symbol" or operator not in _COMPARISONS:
            self.fail("one of = != < <= > >= in")
        self._next += 1
        value = self._value()
        match operator:
            case "<":
                return Range(field, lt=value)
            case "<=":
                return Range(field, lte=value)
            case ">":
                return Range(field, gt=value)
            case ">=":
                return Range(field, gte=value)
            case "!=":
                return Not(Term(field, value))
            case _:
                return Term(field, value)

    def _values(self) -> tuple[Scalar, ...]:
        self._expect("(")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        self._expect(")")
        return tuple(values)

    def _name(self) -> _Token:
        token = self.token
        if token.kind not in ("word", "text") or _is_keyword(token):
            self.fail("a field name, 'not', 'exists' or '('")
        self._next += 1
        return token

    def _value(self) -> Scalar:
        token = self.token
        if token.kind not in ("word", "text") or _is_keyword(token):
            self.fail("a value (a number, true, false, a word, or text in quotes)")
        self._next += 1
        if token.kind == "text" or not _NUMBER.fullmatch(token.text):
            truth = {"true": True, "false": False}.get(token.text.lower()) if token.kind == "word" else None
            return _plain(token) if truth is None else truth
        return _number(token.text)

    def _take(self, text: str) -> bool:
        if self.token.kind in ("word", "symbol") and self.token.text.lower() == text:
            self._next += 1
            return True
        return False

    def _expect(self, symbol: str) -> None:
        if not self._take(symbol):
            self.fail(repr(symbol))

    def _split(self) -> list[_Token]:
        tokens: list[_Token] = []
        position = 0
        while not tokens or tokens[-1].kind != "end":
            found = _TOKEN.match(self._text, position)
            if found is None or found.lastgroup is None:
                start = position + len(self._text[position:]) - len(self._text[position:].lstrip())
                raise FilterError(
                    f"filter {self._text!r}, position {start + 1}: can't read {self._text[start]!r} here "
                    f"(an unclosed quote? text with other characters than letters, digits, _ . - stands in quotes)"
                )
            kind = found.lastgroup
            tokens.append(_Token(kind, found.group(kind), found.start(kind) + 1))
            position = found.end()
        return tokens


def _number(text: str) -> int | float:
    """Read a number: an int if it has no decimal point and fits in 64 bits, otherwise a float."""
    if text.lstrip("+-").isdecimal() and len(text) <= 20 and -(2**63) <= int(text) < 2**63:
        return int(text)
    return float(text)


def _is_keyword(token: _Token) -> bool:
    return token.kind == "word" and token.text.lower() in _KEYWORDS


def _plain(token: _Token) -> str:
    """Return a word as it is, and a quoted text without its quotes and escapes."""
    return token.text if token.kind == "word" else re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
