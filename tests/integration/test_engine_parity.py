"""The two engines rank alike: the same passages, vectors and queries through both, compared hit by hit.

Towers are not needed for that: a document's vector is a random direction for each of its words, summed, which gives
the k-NN leg something to tell apart.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node.server import Server

from hybrid_search.config import Fusion, IndexSettings
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.engines.opensearch import OpenSearchEngine, requests
from hybrid_search.engines.opensearch.address import Address
from hybrid_search.engines.opensearch.client import Client
from hybrid_search.engines.opensearch.responses import leg_of
from hybrid_search.filter_parser import parse_filter
from hybrid_search.fusion import fuse
from hybrid_search.protocols import Dataset, Vectors
from hybrid_search.streams import in_batches
from hybrid_search.types import Document, Ranking, Rejection
from loaders.msmarco_passage import open_dataset as open_msmarco
from loaders.python_docs import open_dataset as open_python_docs

pytestmark = pytest.mark.opensearch

DIMENSION = 32
DOCUMENTS = 3_000
MSMARCO = Path(__file__).parents[3] / "shared" / "data" / "msmarco-passage"

FUSIONS = [
    Fusion(),
    Fusion(weights=(0.3, 0.7), window=50),
    Fusion(combination="geometric", weights=(0.6, 0.4)),
    Fusion(combination="harmonic", weights=(0.6, 0.4)),
    Fusion(method="l2", weights=(0.2, 0.8)),
    Fusion(method="l2", combination="geometric"),
    Fusion(method="l2", combination="harmonic"),
    Fusion(method="z_score", weights=(0.4, 0.6)),
    Fusion(method="rrf"),
    Fusion(method="rrf", weights=(0.3, 0.7), rank_constant=10),
]


def nothing_refused(rejection: Rejection) -> None:
    pytest.fail(str(rejection))


@cache
def direction(word: str) -> Vectors:
    return np.random.default_rng(zlib.crc32(word.encode())).standard_normal(DIMENSION).astype(np.float32)


def vectors_of(texts: Sequence[str]) -> Vectors:
    rows = np.zeros((len(texts), DIMENSION), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in text.lower().split():
            row += direction(word)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(lengths, 1e-9)).astype(np.float32)


@dataclass(frozen=True)
class Pair:
    """The same documents in both engines, and queries to put to them."""

    location: str
    embedded: EmbeddedEngine
    opensearch: OpenSearchEngine
    queries: list[str]
    vectors: Vectors

    @property
    def exact(self) -> list[Ranking]:
        return self.opensearch.search_dense(self.vectors, 100, exact=True)


def filled(dataset: Dataset, documents: int, server: Server, folder: Path) -> Iterator[Pair]:
    settings = IndexSettings(dimension=DIMENSION, fingerprint="words", faiss="Flat")
    location = f"{server.location}/parity-{dataset.name.replace('_', '-')}"
    OpenSearchEngine.drop(location)
    embedded = EmbeddedEngine.create(folder / "index", settings)
    opensearch = OpenSearchEngine.create(location, settings)
    with embedded, opensearch:
        for batch in in_batches(islice(dataset.documents(), documents), 1_000):
            rows = vectors_of([document.searchable_text for document in batch])
            assert embedded.add(batch, rows) == opensearch.add(batch, rows) == []
        embedded.commit()
        opensearch.commit()
        split = dataset.splits()[-1]
        texts = [query.text for query in islice(dataset.queries(split), 60)]
        yield Pair(location, embedded, opensearch, texts, vectors_of(texts))
    OpenSearchEngine.drop(location)


@pytest.fixture(scope="module")
def python_docs(opensearch_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    dataset = open_python_docs(None, reject=nothing_refused)
    yield from filled(dataset, DOCUMENTS, opensearch_server, tmp_path_factory.mktemp("parity"))


@pytest.fixture(scope="module")
def msmarco(opensearch_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    if not MSMARCO.is_dir():
        pytest.skip(f"the shared data set is not at {MSMARCO}")
    yield from filled(
        open_msmarco(MSMARCO, reject=nothing_refused), 20_000, opensearch_server, tmp_path_factory.mktemp("parity")
    )


@pytest.fixture(params=["python_docs", pytest.param("msmarco", marks=pytest.mark.shared_data)], scope="module")
def pair(request: pytest.FixtureRequest) -> Pair:
    made: Pair = request.getfixturevalue(request.param)
    return made


def overlap(ours: Ranking, theirs: Ranking) -> float:
    return len(set(ours.ids) & set(theirs.ids)) / max(len(ours), len(theirs), 1)


def test_both_hold_the_same_documents_in_the_same_order(pair: Pair) -> None:
    assert pair.embedded.count() == pair.opensearch.count()
    assert list(pair.opensearch.documents()) == list(pair.embedded.documents())


def test_bm25_finds_the_same(pair: Pair) -> None:
    ours = pair.embedded.search_lexical(pair.queries, 100)
    theirs = pair.opensearch.search_lexical(pair.queries, 100)
    both = list(zip(ours, theirs, strict=True))
    alike = sum(one.ids[:10] == other.ids[:10] for one, other in both) / len(both)
    shared = float(np.mean([overlap(one, other) for one, other in both]))
    # The rest is Snowball's: two versions cut a few words in a thousand differently.
    assert alike >= 0.85, f"top 10 identical for {alike:.1%}, overlap@100 {shared:.4f}"
    assert shared >= 0.99, f"top 10 identical for {alike:.1%}, overlap@100 {shared:.4f}"


def test_exact_knn_is_the_same(pair: Pair) -> None:
    for ours, theirs in zip(pair.embedded.search_dense(pair.vectors, 100), pair.exact, strict=True):
        assert theirs.scores == pytest.approx(ours.scores, abs=2e-6)
        for id, other, score, next_score in zip(ours.ids, theirs.ids, ours.scores, (*ours.scores[1:], 0), strict=True):
            assert id == other or abs(score - next_score) < 2e-6 or other in ours.ids


def test_the_graph_misses_little(pair: Pair) -> None:
    found = pair.opensearch.search_dense(pair.vectors, 100)
    recall = np.mean([overlap(one, other) for one, other in zip(found, pair.exact, strict=True)])
    assert recall >= 0.95, f"recall {recall:.4f}"


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda f: f"{f.method}-{f.combination}-{f.weights[0]}")
def test_a_fusion_is_the_same_given_the_same_legs(pair: Pair, fusion: Fusion) -> None:
    queries, vectors = pair.queries[:12], pair.vectors[:12]
    found = pair.opensearch.search_hybrid(queries, vectors, 2 * fusion.window, fusion=fusion)
    for text, vector, hits in zip(queries, vectors, found, strict=True):
        legs = legs_of(pair.location, requests.legs(text, vector.tolist(), fusion.window))
        expected = {one.id: one for one in fuse(legs[0], legs[1], fusion)}
        ties = at_the_cut(legs, fusion.window)
        assert {hit.id for hit in hits} - ties == expected.keys() - ties
        for hit in hits:
            if hit.id not in ties:
                assert hit.score == pytest.approx(expected[hit.id].score, abs=1e-5)
                assert hit.legs.keys() == expected[hit.id].legs.keys()
        assert [(hit.score, hit.id) for hit in hits] == sorted(
            ((hit.score, hit.id) for hit in hits), key=lambda pair: (-pair[0], pair[1])
        )


def legs_of(location: str, bodies: Sequence[dict[str, Any]]) -> list[Ranking]:
    """Ask for the legs as a hybrid query runs them: a graph that is asked for more finds more, so k is the same."""
    address = Address.parse(location)
    with closing(Client(address)) as client:
        answers = [client.call("POST", f"/{address.index}/_search", body) for body in bodies]
    return [leg_of(answer, location) for answer in answers]


def at_the_cut(legs: Sequence[Ranking], window: int) -> set[str]:
    """Documents tied with the last of a full window: which of them are in is not specified."""
    return {
        id
        for leg in legs
        if len(leg) == window
        for id, score in zip(leg.ids, leg.scores, strict=True)
        if abs(score - leg.scores[-1]) < 1e-6
    }


def test_hybrid_hits_are_the_same_in_both_engines(pair: Pair) -> None:
    ours = pair.embedded.search_hybrid(pair.queries, pair.vectors, 10)
    theirs = pair.opensearch.search_hybrid(pair.queries, pair.vectors, 10)
    shared = [
        len({hit.id for hit in one} & {hit.id for hit in other}) / 10 for one, other in zip(ours, theirs, strict=True)
    ]
    assert np.mean(shared) >= 0.97  # the graph misses a neighbour now and then, the stemmers differ in a few words
    for hit, counterpart in zip(ours[0], theirs[0], strict=True):
        assert (hit.text, hit.title, hit.metadata) == (counterpart.text, counterpart.title, counterpart.metadata)


def test_a_filter_leaves_the_same_documents(python_docs: Pair) -> None:
    filter = parse_filter("kind = class and not module = json")
    for search in ("search_lexical", "search_dense"):
        given = python_docs.queries if search == "search_lexical" else python_docs.vectors
        ours = getattr(python_docs.embedded, search)(given, 20, filter)
        theirs = getattr(python_docs.opensearch, search)(given, 20, filter)
        assert np.mean([overlap(one, other) for one, other in zip(ours, theirs, strict=True)]) >= 0.97


def test_a_replaced_and_a_deleted_document_change_both_alike(python_docs: Pair) -> None:
    first, second = islice(python_docs.embedded.documents(), 2)
    changed = Document(first.id, "zyzzyva beetles eat palms", metadata=first.metadata)
    for engine in (python_docs.embedded, python_docs.opensearch):
        assert engine.add([changed], vectors_of([changed.text])) == []
        assert engine.delete([second.id]) == 1
        engine.commit()
        assert engine.search_lexical(["zyzzyva"], 5)[0].ids == (first.id,)
        assert engine.get([second.id]) == [None]
    assert list(python_docs.opensearch.documents()) == list(python_docs.embedded.documents())
