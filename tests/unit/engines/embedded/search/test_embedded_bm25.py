"""The lexical leg against independent implementations: bm25s over the same terms, and Lucene's length encoding."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import bm25s
import ir_measures
import numpy as np
import pytest
from asked import by_text

from hybrid_search.analysis import analyzer, asked_terms
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.engines.embedded.search.bm25 import lucene_length
from hybrid_search.engines.embedded.search.forward import HashedTerms, term_hash
from hybrid_search.settings.index import Bm25, IndexSettings
from hybrid_search.types import Document

DATA = Path(__file__).parents[5].parent / "shared" / "data"
PAIRS = [Bm25(k1=1.2, b=0.75), Bm25(k1=0.9, b=0.4), Bm25(k1=0.6, b=0.4)]


def test_lengths_are_rounded_as_lucene_does() -> None:
    lengths = np.array([0, 1, 39, 40, 41, 42, 55, 56, 57, 60, 88, 100, 1000, 100_000])
    # Exact up to 40; then three bits of mantissa above an offset of 24.
    assert lucene_length(lengths).tolist() == [0, 1, 39, 40, 40, 42, 54, 56, 56, 60, 88, 96, 984, 98328]


@pytest.fixture(scope="module")
def words() -> list[Document]:
    """Texts of at most 40 terms, where the rounding of lengths is exact, so bm25s must agree to the last digit."""
    random_ = random.Random(7)
    vocabulary = [f"w{number}" for number in range(400)]
    weights = [1 / (number + 1) for number in range(400)]
    return [
        Document(f"d{number}", " ".join(random_.choices(vocabulary, weights, k=random_.randint(1, 40))))
        for number in range(1500)
    ]


@pytest.mark.parametrize("bm25", PAIRS, ids=str)
def test_scores_equal_bm25s_for_any_k1_and_b(tmp_path: Path, words: list[Document], bm25: Bm25) -> None:
    terms_of = analyzer("english").terms_of()
    oracle = bm25s.BM25(method="lucene", k1=bm25.k1, b=bm25.b)
    oracle.index([terms_of(document.text) for document in words], show_progress=False)
    queries = ["w1 w5", "w300", "w2 w2 w17 w40", "w399 w1"]
    with EmbeddedEngine.create(tmp_path / "index", IndexSettings(bm25=bm25)) as engine:
        engine.add(words[:700], None)
        engine.commit()
        engine.add(words[700:], None)
        engine.commit()
        for query, ranking in zip(queries, by_text(engine, queries, 20), strict=True):
            exact = oracle.get_scores(terms_of(query))
            assert ranking.scores == pytest.approx(sorted(exact[exact > 0].tolist(), reverse=True)[:20], rel=1e-5)
            by_id = dict(zip((document.id for document in words), exact, strict=True))
            assert ranking.scores == pytest.approx([by_id[id] for id in ranking.ids], rel=1e-5)


def read_tsv(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n") if line]


def ndcg(engine: EmbeddedEngine, queries: dict[str, str], qrels: Path, bm25: Bm25) -> float:
    rankings = by_text(engine, list(queries.values()), 1000, bm25=bm25)
    run = {
        query: dict(zip(ranking.ids, ranking.scores, strict=True))
        for query, ranking in zip(queries, rankings, strict=True)
    }
    measure = ir_measures.nDCG @ 10
    return float(ir_measures.calc_aggregate([measure], list(ir_measures.read_trec_qrels(str(qrels))), run)[measure])


@pytest.fixture(scope="module")
def passages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedEngine]:
    folder = DATA / "msmarco-passage"
    if not folder.is_dir():
        pytest.skip(f"the passages are not there: {folder}")
    with EmbeddedEngine.create(tmp_path_factory.mktemp("passages") / "index", IndexSettings()) as engine:
        engine.add([Document(id, text) for id, text in read_tsv(folder / "collection.tsv")], None)
        engine.commit()
        yield engine


@pytest.fixture
def all_words_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in what is published: function words are no matter of the formula."""
    monkeypatch.setattr("hybrid_search.analysis.queries.function_words", lambda language: frozenset())


@pytest.mark.shared_data
@pytest.mark.usefixtures("all_words_count")
@pytest.mark.parametrize(("bm25", "expected"), list(zip(PAIRS, (0.432, 0.457, 0.462), strict=True)), ids=str)
def test_ndcg_on_dl19_is_that_of_bm25s(passages: EmbeddedEngine, bm25: Bm25, expected: float) -> None:
    queries = dict(read_tsv(DATA / "msmarco-passage" / "queries.dl19.tsv"))
    assert ndcg(passages, queries, DATA / "msmarco-passage" / "qrels.dl19.txt", bm25) == pytest.approx(
        expected, abs=0.004
    )


@pytest.mark.shared_data
@pytest.mark.usefixtures("all_words_count")
def test_ndcg_on_nfcorpus_is_the_published_one(tmp_path: Path) -> None:
    folder = DATA / "nfcorpus"
    if not folder.is_dir():
        pytest.skip(f"NFCorpus is not there: {folder}")
    lines = {
        name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").split("\n") if line]
        for name in ("corpus", "queries")
    }
    rows = read_tsv(folder / "qrels" / "test.tsv")[1:]
    (tmp_path / "qrels").write_text("".join(f"{query} 0 {id} {grade}\n" for query, id, grade in rows))
    judged = {query for query, _, _ in rows}
    queries = {line["_id"]: line["text"] for line in lines["queries"] if line["_id"] in judged}
    with EmbeddedEngine.create(tmp_path / "index", IndexSettings()) as engine:
        engine.add([Document(line["_id"], line["text"], line["title"]) for line in lines["corpus"]], None)
        engine.commit()
        assert ndcg(engine, queries, tmp_path / "qrels", Bm25()) == pytest.approx(0.322, abs=0.003)


@pytest.mark.shared_data
@pytest.mark.parametrize("bm25", PAIRS, ids=str)
def test_the_first_ten_are_those_of_bm25s(passages: EmbeddedEngine, bm25: Bm25) -> None:
    how = analyzer(IndexSettings().analyzer)
    terms_of, asked = how.terms_of(), asked_terms(how)
    documents = list(passages.documents())
    oracle = bm25s.BM25(method="lucene", k1=bm25.k1, b=bm25.b)
    oracle.index([terms_of(document.text) for document in documents], show_progress=False)
    queries = [text for _, text in read_tsv(DATA / "msmarco-passage" / "queries.dev.small.tsv")[:200]]
    shared = []
    for query, ranking in zip(queries, by_text(passages, queries, 10, bm25=bm25), strict=True):
        exact = oracle.get_scores(asked(query))
        matching = min(10, np.count_nonzero(exact))  # of few words few documents have any
        assert len(ranking) == matching
        tenth = max(np.sort(exact)[-10], np.finfo(np.float32).tiny)
        # A document that ties with the tenth (or, its length rounded, all but does) is as right as another.
        good = {document.id for document, score in zip(documents, exact, strict=True) if score >= tenth * 0.999}
        shared.append(len(good & set(ranking.ids)) / matching if matching else 1.0)
    assert np.mean(shared) >= 0.97


def test_tantivy_s_own_scores_rank_as_the_exact_ones_ties_included(tmp_path: Path, words: list[Document]) -> None:
    # A b that differs in the ninth digit takes the exact path; many of these short texts tie.
    exact = Bm25(k1=1.2, b=0.75 + 1e-9)
    queries = ["w1 w5", "w2 w2 w17 w40", "w1 w2 w3", "w300 w7"]
    with EmbeddedEngine.create(tmp_path / "index", IndexSettings()) as engine:
        engine.add(words, None)
        engine.commit()
        ours, theirs = by_text(engine, queries, 50), by_text(engine, queries, 50, bm25=exact)
        for one, other in zip(ours, theirs, strict=True):
            assert one.scores == pytest.approx(other.scores, rel=1e-6)
            assert one.ids == other.ids


@pytest.mark.parametrize("bm25", PAIRS, ids=str)
def test_a_document_without_terms_counts_in_no_statistics_as_in_lucene(tmp_path: Path, bm25: Bm25) -> None:
    with EmbeddedEngine.create(tmp_path / "index", IndexSettings(bm25=bm25)) as engine:
        engine.add([Document("a", "cat"), Document("b", "dog"), Document("c", "*"), Document("d", "?", "!")], None)
        engine.commit()
        expected = math.log(1 + (2 - 1 + 0.5) / (1 + 0.5)) / (1 + bm25.k1)
        assert by_text(engine, ["cat"], 10)[0].scores == pytest.approx([expected], rel=1e-6)
        engine.delete(["c"])
        engine.add([Document("d", "bird")], None)
        engine.commit()
        expected = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5)) / (1 + bm25.k1)
        assert by_text(engine, ["cat"], 10)[0].scores == pytest.approx([expected], rel=1e-6)


MIXED = (
    "The Foxes were RUNNING, parseHTTPResponse of utf8Decode; x_y 9.99\tTHE foxes\x00end",
    "cafe\u0301 CAFÉ ﬁne ＡＰＩ Straße STRASSE İstanbul ΟΔΟΣ getÜberName 東京タワー 한국어 co\u00adop",
    "… 🙂 !",
)


@pytest.mark.parametrize("name", ["english_parts", "english", "plain", "cjk", "french_light", "german", "any"])
def test_the_forward_index_counts_the_terms_that_the_analyzer_makes_of_a_text(name: str) -> None:
    chosen = analyzer(name)
    terms = HashedTerms(chosen)
    for text in (*MIXED, *MIXED):  # known words, too
        assert terms.counted(text) == Counter(map(term_hash, chosen.terms_of()(text)))
