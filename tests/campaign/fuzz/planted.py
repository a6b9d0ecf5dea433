"""The null controls: faults put into the product, each loud if what it changes is no longer there."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hybrid_search import Document
from hybrid_search.engines.documents import refusal
from hybrid_search.errors import FilterError
from hybrid_search.filters import Range

__all__ = ["planted"]


@contextmanager
def _replaced(place: str, name: str, made: Callable[[Any], Any]) -> Iterator[None]:
    """Replace ``MODULE:ATTRIBUTE.ATTRIBUTE`` by what is made of it."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    for part in filter(None, path.split(".")):
        owner = getattr(owner, part)
    if not hasattr(owner, name):
        raise LookupError(
            f"the null control can't be planted: {place} has no {name}; change tests/campaign/fuzz/planted.py"
        )
    before = owner.__dict__[name]
    setattr(owner, name, made(before))
    try:
        yield
    finally:
        setattr(owner, name, before)


def _bare_key_error(fail: Callable[..., Any]) -> Callable[..., Any]:
    def failing(parser: Any, wanted: str) -> Any:
        return {}[wanted]

    return failing


def _hanging(expect: Callable[..., Any]) -> Callable[..., Any]:
    def waiting(parser: Any, symbol: str) -> Any:
        while parser.token.kind == "end":
            pass
        return expect(parser, symbol)

    return waiting


def _lower_bound(compared: Callable[..., Any]) -> Callable[..., Any]:
    def reading(parser: Any, field: str) -> Any:
        found = compared(parser, field)
        if isinstance(found, Range) and found.lte is not None:
            return Range(field, lt=found.lte)
        return found

    return reading


def _keeping_rejected(add: Callable[..., Any]) -> Callable[..., Any]:
    def adding(retriever: Any, documents: Any, **given: Any) -> Any:
        report = add(retriever, documents, **given)
        refused = {json.loads(one.record)["id"] for one in report.rejected}
        bare = [Document(one.id, one.text, one.title) for one in documents if one.id in refused and one.metadata]
        add(retriever, bare, **given)
        return report

    return adding


def _stripping(add: Callable[..., Any]) -> Callable[..., Any]:
    def adding(retriever: Any, documents: Any, **given: Any) -> Any:
        def stripped(one: Document) -> Document:
            return Document(one.id, one.text.strip(), one.title, one.metadata) if isinstance(one.text, str) else one

        return add(retriever, [stripped(one) for one in documents], **given)

    return adding


def _swallowing(rankings: Callable[..., Any]) -> Callable[..., Any]:
    def ranking(retriever: Any, *given: Any, **named: Any) -> Any:
        try:
            return rankings(retriever, *given, **named)
        except FilterError:
            return rankings(retriever, *given, **{**named, "filter": None})

    return ranking


def _refusing_titles(add: Callable[..., Any]) -> Callable[..., Any]:
    def adding(engine: Any, documents: Any, vectors: Any) -> Any:
        kept = [place for place, one in enumerate(documents) if not one.title]
        refused = [refusal(one, "title", "this is a planted fault") for one in documents if one.title]
        return add(engine, [documents[place] for place in kept], None if vectors is None else vectors[kept]) + refused

    return adding


def _sending(pattern: bytes, instead: bytes) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Change the bodies of searches on their way to the server."""

    def made(send: Callable[..., Any]) -> Callable[..., Any]:
        def sending(client: Any, request: Any) -> Any:
            body = re.sub(pattern, instead, request.body) if request.body else request.body
            return send(client, dataclasses.replace(request, body=body))

        return sending

    return made


def _without_json(call: Callable[..., Any]) -> Callable[..., Any]:
    def writing(letter: Any, rejection: Any) -> None:
        if "JSON" not in rejection.reason:
            call(letter, rejection)

    return writing


_PARSER = "hybrid_search.filters.parser:_Parser"
_RETRIEVER = "hybrid_search.retrieval.retriever:Retriever"
_CLIENT = "hybrid_search.engines.opensearch.transport.client:Client"
_FAULTS: dict[str, tuple[str, str, Callable[[Any], Any]]] = {
    "a parser with a bare KeyError": (_PARSER, "fail", _bare_key_error),
    "a hang": (_PARSER, "_expect", _hanging),
    "a changed filter": (_PARSER, "_compared", _lower_bound),
    "a rejected record is kept": (_RETRIEVER, "add", _keeping_rejected),
    "an accepted document is changed": (_RETRIEVER, "add", _stripping),
    "a swallowed error": (_RETRIEVER, "rankings", _swallowing),
    "a bare TypeError": ("hybrid_search.search:", "_check_page", lambda check: lambda k, offset: k < 1),
    "a damaged model is believed": (
        "hybrid_search.towers.onnx.encoder:",
        "verify_files",
        lambda verify: lambda *given: None,
    ),
    "a record is not written down": ("hybrid_search.loaders.dead_letter:DeadLetter", "__call__", _without_json),
    "a bare KeyError": ("hybrid_search.loaders.records:", "_id", lambda read: lambda record: str(record["id"])),
    "a traceback": ("hybrid_search.loaders.folder:", "require_path", lambda require: lambda path, *given: {}[path]),
    "answers are believed": (
        "hybrid_search.engines.opensearch.transport.plan:",
        "_told",
        lambda told: lambda plan, request, answer: plan.send(answer),
    ),
    "a filter differs": (_CLIENT, "send", _sending(rb'"lte"', rb'"lt"')),
    "a ranking differs": (_CLIENT, "send", _sending(rb'"query":"(\w+)', rb'"query":"\1 \1')),
    "an addition differs": ("hybrid_search.engines.opensearch.engine:OpenSearchEngine", "add", _refusing_titles),
}


@contextmanager
def planted(fault: str | None) -> Iterator[None]:
    """Plant a fault; None for none."""
    if fault is None:
        yield
        return
    with _replaced(*_FAULTS[fault]):
        yield
