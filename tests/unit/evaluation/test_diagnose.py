"""What is said of an index whose faults are known."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.evaluation.diagnose import Finding, _missed, _shared, _wins, diagnose
from hybrid_search.evaluation.measures import qrels_of
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document, Judgement, Query, Ranking


def index(folder: Path, vectors: np.ndarray, texts: list[str]) -> str:
    settings = IndexSettings(fingerprint="x", dimension=vectors.shape[1])
    with closing(EmbeddedEngine.create(folder, settings)) as engine:
        engine.add([Document(f"d{number}", text) for number, text in enumerate(texts)], vectors)
        engine.commit()
    return str(folder)


def found(location: str) -> dict[str, Finding]:
    return {one.name: one for one in diagnose(location).findings}


def test_collapsed_vectors_and_duplicates_are_found_with_what_to_do(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    vectors = (np.ones((60, 32)) + 0.01 * generator.normal(size=(60, 32))).astype(np.float32)
    place = index(tmp_path / "index", vectors, [f"text {number // 2}" for number in range(60)])
    of = found(place)
    assert set(of) == {"duplicates", "dimensions used", "random pairs", "hubs"}
    assert (of["duplicates"].state, of["duplicates"].figures["duplicates"]) == ("look", 30)
    assert of["duplicates"].examples == ("d1 = d0", "d3 = d2", "d5 = d4")
    assert "load … --sync" in of["duplicates"].advice
    assert of["random pairs"].state == "bad"
    assert "training.loss=infonce" in of["random pairs"].advice


def test_vectors_that_are_spread_out_are_good(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    of = found(index(tmp_path / "index", vectors, [f"text {number}" for number in range(300)]))
    assert {name: (one.state, one.advice) for name, one in of.items()} == dict.fromkeys(of, ("good", ""))
    assert of["dimensions used"].figures["effective_rank"] > 15


def test_an_index_without_vectors_is_looked_through_for_duplicates(tmp_path: Path) -> None:
    with closing(EmbeddedEngine.create(tmp_path / "index", IndexSettings())) as engine:
        engine.add([Document("a", "One"), Document("b", "one "), Document("c", "two")], None)
        engine.commit()
    assert {name: one.figures["duplicates"] for name, one in found(str(tmp_path / "index")).items()} == {
        "duplicates": 1
    }


QUERIES = [Query(f"q{number}", f"text {number}") for number in range(4)]
VALUES = {"bm25": {"q0": 1.0, "q1": 0.5, "q2": 0.0, "q3": 0.2}, "knn": {"q0": 0.0, "q1": 0.4, "q2": 0.5, "q3": 0.2}}


def test_the_queries_that_a_leg_wins_are_shown_the_largest_gain_first() -> None:
    gains = {query: VALUES["bm25"][query] - VALUES["knn"][query] for query in VALUES["bm25"]}
    won = _wins("x", QUERIES, VALUES, gains, {"bm25": 0.5, "knn": 0.2}, "tune")
    assert won.examples == ("text 0 (BM25 1.00, k-NN 0.00)", "text 1 (BM25 0.50, k-NN 0.40)")
    assert (won.figures["queries"], won.state, won.advice) == (2, "look", "k-NN is far behind: tune")


def test_agreement_and_what_both_legs_miss() -> None:
    one, other = Ranking(("a", "b"), (2.0, 1.0)), Ranking(("b", "c", "d", "e"), (4.0, 3.0, 2.0, 1.0))
    assert (_shared(one, other), _shared(one, one), _shared(Ranking((), ()), Ranking((), ()))) == (0.25, 1.0, 0.0)
    qrels = qrels_of([Judgement("q0", id, 1) for id in "acxy"])
    assert _missed(QUERIES[:1], qrels, [one], [other]) == 0.5
