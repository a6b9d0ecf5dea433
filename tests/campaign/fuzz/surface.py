"""Every public function with arguments of any type and size."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from fakes import PETS, AxisEncoder
from hypothesis import strategies as st

import hybrid_search
from campaign.attack import Attempt, Bench, Outcome
from campaign.fuzz.conditions import CONDITIONS
from campaign.fuzz.draws import searched
from campaign.fuzz.expectation import Broken, outcome_of
from campaign.fuzz.folders import SETTINGS
from campaign.fuzz.planted import planted
from campaign.fuzz.strategies import ANY, DOCUMENTS, QUERIES, TEXTS
from hybrid_search import AsyncRetriever, Retriever
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.loading.load import LoadOptions
from hybrid_search.opening import create_index, drop_index, index_exists, open_engine
from hybrid_search.settings.index import Bm25, Fusion

__all__ = ["Surface"]

_COUNTS = st.one_of(st.sampled_from([0, 1, 5, -1, 9_999, 10_000, 10_001, 2**31, 2**63, True, 1.0, "5", None]), ANY)
_MODES = st.one_of(st.sampled_from(["bm25", "hybrid", "knn", "BM25", ""]), ANY)
_FILTERS = st.one_of(st.none(), CONDITIONS, st.sampled_from(["lang = en", "year >= 2000", "lang", ""]), TEXTS, ANY)
_FUSIONS = st.one_of(st.none(), st.sampled_from([Fusion(), Fusion(window=1), Fusion(method="rrf")]), ANY)
_LISTS_OF_QUERIES = st.one_of(st.lists(QUERIES, max_size=3), st.lists(ANY, max_size=2), ANY)
_SWITCHES = st.one_of(st.booleans(), ANY)
_RERANKERS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([lambda query, hits: [len(hit.text) for hit in hits], lambda query, hits: None, len]),
    ANY,
)
_SHARES = st.one_of(st.sampled_from([0, 1, 0.3, 1.5, -0.1, float("nan")]), ANY)


@dataclass(frozen=True, slots=True)
class _Call:
    """A function with what each argument is drawn from; those beside ``first`` may be left out."""

    name: str
    made: Callable[..., Callable[..., Any]]
    first: Mapping[str, st.SearchStrategy[Any]]
    more: Mapping[str, st.SearchStrategy[Any]]


def _places(folder: Path) -> st.SearchStrategy[Any]:
    named = [
        "index",
        "nothing",
        "file",
        ".",
        "a/b",
        "\x00",
        "a" * 300,
        "http://x/y",
        "host:9200/i",
        "",
        "index/documents.sqlite",
    ]
    return st.one_of(
        st.sampled_from([str(folder / name) if name else "" for name in named]),
        st.sampled_from([folder / "index", folder]),
        TEXTS.map(lambda text: str(folder) + "/" + text.replace("..", "")),
        st.integers(),
        st.none(),
        st.just(["x"]),
        st.just(b"x"),
    )


def _calls(retriever: Retriever, folder: Path) -> list[_Call]:
    search = {
        "mode": _MODES,
        "filter": _FILTERS,
        "offset": _COUNTS,
        "fusion": _FUSIONS,
        "rerank": _RERANKERS,
        "rerank_depth": _COUNTS,
        "diversity": _SHARES,
    }
    place = _places(folder)
    dataset = open_dataset("jsonl", folder / "documents.jsonl", reject=lambda rejection: None)

    def awaited(*given: Any, **named: Any) -> Any:
        async def ask() -> Any:
            return await AsyncRetriever(retriever).search(*given, **named)

        return asyncio.run(ask())

    def opened(*given: Any, **named: Any) -> None:
        hybrid_search.open(*given, **named).close()

    def loaded(location: Any, **named: Any) -> Any:
        options = {name: named.pop(name) for name in list(named) if name != "model"}
        return hybrid_search.load(dataset, location, **named, options=LoadOptions(**options) if options else None)

    options = {
        "bm25": st.one_of(st.none(), st.just(Bm25()), ANY),
        "fusion": _FUSIONS,
        "fields": st.one_of(st.just({"a": "long"}), ANY),
        "faiss": st.one_of(st.sampled_from(["Flat", "HNSW32", "nonsense", "IVF0,Flat", ""]), ANY),
        "threads": _COUNTS,
        "total": _COUNTS,
        "recreate": _SWITCHES,
        "lexical_only": _SWITCHES,
        "pipeline": ANY,
        "server": ANY,
        "layout": ANY,
    }
    return [
        _Call("search", lambda: retriever.search, {"query": st.one_of(QUERIES, ANY), "k": _COUNTS}, search),
        _Call("search_many", lambda: retriever.search_many, {"queries": _LISTS_OF_QUERIES, "k": _COUNTS}, search),
        _Call("AsyncRetriever.search", lambda: awaited, {"query": st.one_of(QUERIES, ANY), "k": _COUNTS}, search),
        _Call(
            "rankings",
            lambda: retriever.rankings,
            {"queries": _LISTS_OF_QUERIES, "k": _COUNTS},
            {"mode": _MODES, "filter": _FILTERS, "bm25": st.one_of(st.none(), st.just(Bm25()), ANY)},
        ),
        _Call(
            "add",
            lambda: retriever.add,
            {"documents": st.one_of(st.lists(st.one_of(DOCUMENTS, ANY), max_size=3), ANY)},
            {"batch_size": _COUNTS},
        ),
        _Call("encode_queries", lambda: retriever.encode_queries, {"texts": _LISTS_OF_QUERIES}, {}),
        _Call("encode_documents", lambda: retriever.encode_documents, {"texts": _LISTS_OF_QUERIES}, {}),
        _Call(
            "open",
            lambda: opened,
            {"location": place},
            {
                "model": st.one_of(st.none(), place),
                "writable": st.just(False),
                "follow": _SWITCHES,
                "connection": ANY,
                "search": ANY,
            },
        ),
        _Call(
            "load",
            lambda: loaded,
            {"location": place.filter(lambda one: "index" not in str(one))},
            {"model": st.one_of(st.none(), place), **options},
        ),
        _Call("index_exists", lambda: index_exists, {"location": place}, {}),
        _Call("AsyncRetriever", lambda: AsyncRetriever, {"retriever": ANY}, {}),
        _Call(
            "open_dataset",
            lambda: _opened_dataset,
            {
                "name": st.one_of(st.sampled_from(["jsonl", "beir", "msmarco_passage", "x"]), TEXTS),
                "path": st.one_of(st.none(), place.map(lambda one: Path(one) if isinstance(one, str) else folder)),
            },
            {},
        ),
    ]


def _opened_dataset(name: str, path: Path | None) -> None:
    dataset = open_dataset(name, path, reject=lambda rejection: None)
    list(dataset.documents())


class Surface:
    """A function a trial, in turn, called many times."""

    name = "fuzz-surface"
    unit = "inputs"
    wanted = 8_000
    short = 280
    needs_server = False
    planted: ClassVar = {"a bare TypeError": "k is compared before it is checked"}

    @contextmanager
    def prepared(self, bench: Bench) -> Iterator[Attempt]:
        folder = bench.folder
        (folder / "file").write_bytes(b"no index")
        (folder / "documents.jsonl").write_text('{"id": "d1", "text": "cat"}\n{"id": "d2", "text": "dog"}\n')
        retriever = Retriever(AxisEncoder(), create_index(folder / "index", SETTINGS))
        retriever.add(PETS)
        calls = _calls(retriever, folder)

        def attempt(trial: int) -> Outcome:
            call = calls[trial % len(calls)]
            arguments = st.fixed_dictionaries(call.first, optional=call.more)

            def check(given: dict[str, Any]) -> None:
                outcome_of(lambda: call.made()(**given))

            return searched(arguments, check, bench.draw(trial), 20, what=call.name)

        # A relative location must leave nothing in the checkout.
        with planted(bench.planted), contextlib.chdir(folder):
            yield attempt
        retriever.close()
        problems = open_engine(folder / "index").verify()  # type: ignore[attr-defined]
        drop_index(folder / "index")
        if problems:
            raise Broken(f"after all of this the index has {problems}")
