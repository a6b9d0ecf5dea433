"""The weights of the legs where nobody judged: by queries that are made of the documents themselves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from made_models import make_model
from numpy.typing import NDArray

import hybrid_search
from hybrid_search import Document, Fusion, LoadOptions
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.loading.sources import Corpus
from hybrid_search.models import inspect_index
from hybrid_search.protocols import silent
from hybrid_search.settings.index import IndexSettings, Similarity
from hybrid_search.towers.model_card import read_model_card, write_model_card
from hybrid_search.training.fit import made
from hybrid_search.training.fit.made import fit_on_made_queries, sampling

NOUNS = [f"{first}{second}" for first in ("red", "blue", "old", "wet", "tall", "mad") for second in
         ("fox", "hen", "cow", "owl", "elk", "ram", "bat")]  # fmt: skip


def document(number: int, noun: str) -> Document:
    """Three sentences on one noun, with words that are in every document."""
    text = f"The {noun} is here today. We saw the {noun} again today. Here is a {noun} for us today."
    return Document(f"d{number}", text)


DOCUMENTS = [document(number, noun) for number, noun in enumerate(NOUNS)]


class Encoder:
    """Finds a document by its noun, or by nothing at all."""

    fingerprint = "f" * 64
    dimension = len(NOUNS)
    similarity: Similarity = "cosine"

    def __init__(self, *, knows: bool) -> None:
        self._knows = knows
        self.encoded = 0
        self._draw = np.random.default_rng(0)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode_documents(texts)

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.encoded += len(texts)
        if self._knows:
            rows = [[float(noun in text) for noun in NOUNS] for text in texts]
            return np.array(rows, dtype=np.float32)
        return self._draw.standard_normal((len(texts), self.dimension)).astype(np.float32)


def settings(**changes: object) -> IndexSettings:
    return IndexSettings(fingerprint=Encoder.fingerprint, dimension=Encoder.dimension, **changes)


def test_a_query_is_a_sentence_that_its_document_lost() -> None:
    left, queries, runs = made._made(DOCUMENTS)
    assert runs == 0
    assert len(queries) == len(DOCUMENTS) == len(left)
    for query in queries:
        whole = next(one.text for one in DOCUMENTS if one.id == query.id)
        rest = next(one.text for one in left if one.id == query.id)
        assert query.text in whole
        assert sorted([*rest.split(), *query.text.split()]) == sorted(whole.split())


def test_where_documents_are_single_sentences_a_query_is_a_run_of_words_that_its_document_lost() -> None:
    short = [Document(f"s{n}", " ".join(f"word{n}of{place}" for place in range(30))) for n in range(700)]
    left, queries, runs = made._made([*short, *DOCUMENTS])
    assert (len(queries), runs) == (600, 600 - 42)
    assert {query.id for query in queries[:42]} == {one.id for one in DOCUMENTS}
    rest, whole = ({one.id: one.text.split() for one in of} for of in (left, short))
    for query in queries[42:]:
        words, run = whole[query.id], query.text.split()
        at = words.index(run[0])
        assert words[at : at + len(run)] == run
        assert rest[query.id] == words[:at] + words[at + len(run) :]
    assert sum(rest[id] != text for id, text in whole.items()) == 600 - 42


@pytest.mark.parametrize(("runs", "chosen"), [(0.0, 0.0), (1.0, 0.25), (0.5, 0.15)])
def test_by_runs_half_of_the_way_is_gone_and_by_sentences_all_of_it(runs: float, chosen: float) -> None:
    best, before = Fusion(weights=(0.0, 1.0)), Fusion(weights=(0.5, 0.5))
    assert made._drawn(best, before, runs).weights == pytest.approx((chosen, 1 - chosen))


def test_short_texts_make_no_queries_and_leave_the_weights_as_they_are() -> None:
    short = [Document(f"d{number}", "Two words. Three words here.") for number in range(100)]
    assert made._made(short)[1] == []
    assert fit_on_made_queries(short, Encoder(knows=True), settings(), silent) is None


def test_a_leg_of_noise_gets_next_to_nothing_and_one_that_knows_gets_its_share() -> None:
    noise = fit_on_made_queries(DOCUMENTS, Encoder(knows=False), settings(), silent)
    knows = fit_on_made_queries(DOCUMENTS, Encoder(knows=True), settings(), silent)
    assert noise is not None
    assert knows is not None
    assert (noise.queries, noise.documents) == (42, 42)
    assert noise.knn < 0.3
    assert noise.hybrid >= noise.bm25 == 1.0  # the noun is in its document alone
    assert noise.fusion.weights[0] >= 0.5
    assert knows.knn == knows.hybrid == 1.0


def test_method_and_window_are_those_of_the_index() -> None:
    fusion = Fusion(weights=(0.2, 0.8), window=20)
    fit = fit_on_made_queries(DOCUMENTS, Encoder(knows=True), settings(fusion=fusion), silent)
    assert fit is not None
    assert fit.fusion == fusion.replace(weights=fit.fusion.weights)


def test_what_no_index_takes_is_left_out_and_breaks_nothing() -> None:
    odd = [Document("n", None), Document(7, "A number as an id. It has three. Sentences in all of it.")]  # type: ignore[arg-type]
    fit = fit_on_made_queries([*odd, *DOCUMENTS], Encoder(knows=True), settings(), silent)
    assert fit is not None
    assert fit.documents == len(DOCUMENTS)


def test_a_sample_is_five_thousand_of_all_and_all_pass_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "MOST_DOCUMENTS", 100)
    kept: list[Document] = []
    passed = list(sampling((Document(str(n), "x") for n in range(10_000)), kept))
    assert [int(one.id) for one in passed] == list(range(10_000))
    numbers = sorted(int(one.id) for one in kept)
    assert len(set(numbers)) == 100
    # Even over the whole: the mean of 100 draws from 0..9,999 is within 1,500 of the middle (5 standard errors).
    assert abs(sum(numbers) / 100 - 5_000) < 1_500


def test_documents_that_the_index_refuses_make_no_queries() -> None:
    refused = [
        Document(f"s{number}", f"One two three four five \ud800. Two words of {number} here now. Three of that here.")
        for number in range(40)
    ]
    fit = fit_on_made_queries([*refused, *DOCUMENTS], Encoder(knows=True), settings(), silent)
    assert fit is not None
    assert (fit.queries, fit.bm25, fit.knn) == (42, 1.0, 1.0)
    assert fit_on_made_queries(refused, Encoder(knows=True), settings(), silent) is None


def test_where_both_legs_find_everything_the_weights_stay_as_they_are() -> None:
    for weights in ((0.5, 0.5), (0.7, 0.3)):
        fit = fit_on_made_queries(DOCUMENTS, Encoder(knows=True), settings(fusion=Fusion(weights=weights)), silent)
        assert fit is not None
        assert fit.fusion.weights == pytest.approx(weights)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "m", [one.text for one in DOCUMENTS], seed=0)


def corpus() -> Corpus:
    def documents() -> Iterator[Document]:
        yield from DOCUMENTS

    return Corpus("animals", documents)


def asking_to_weigh(model: Path) -> Path:
    card = read_model_card(model)
    write_model_card(model, card.replace(defaults=card.defaults.replace(weigh=True)))
    return model


def test_a_new_index_of_a_model_that_asks_for_it_is_weighed_and_no_other(tmp_path: Path, model: Path) -> None:
    plain = hybrid_search.load(corpus(), tmp_path / "plain", model=model)
    assert (plain.weights, plain.weighed_by) == ((0.5, 0.5), 0)
    asking_to_weigh(model)
    weighed = hybrid_search.load(corpus(), tmp_path / "weighed", model=model)
    assert weighed.weighed_by == 42
    with hybrid_search.open(tmp_path / "weighed") as retriever:
        assert retriever.fusion.weights == weighed.weights
    again = hybrid_search.load(corpus(), tmp_path / "weighed")
    assert (again.weights, again.weighed_by) == (weighed.weights, 0)  # an index that was there keeps its weights
    given = hybrid_search.load(corpus(), tmp_path / "given", model=model, options=LoadOptions(fusion=Fusion()))
    assert (given.weights, given.weighed_by) == ((0.5, 0.5), 0)


def test_documents_that_no_index_takes_end_neither_a_load_nor_its_weighing(tmp_path: Path, model: Path) -> None:
    odd = [
        Document("s", "A lone surrogate \ud800 is no text."), Document("b", b"bytes"), Document("n", None),
        Document("", "No id here at all."), Document("x" * 600, "An id that is too long."), Document(7, "A number."),
    ]  # type: ignore[arg-type]  # fmt: skip
    asking_to_weigh(model)
    report = hybrid_search.load(Corpus("odd", lambda: iter([*odd, *DOCUMENTS])), tmp_path / "odd", model=model)
    assert (report.documents, report.rejected, report.weighed_by) == (42, 6, 42)


def test_an_index_whose_load_ended_before_it_was_weighed_says_so_and_the_next_load_weighs_it(
    tmp_path: Path, model: Path
) -> None:
    asking_to_weigh(model)
    at = tmp_path / "index"
    with hybrid_search.create(at, model=model) as retriever:
        retriever.add(DOCUMENTS[:41])
    assert inspect_index(str(at))["weighed"] is False
    report = hybrid_search.load(Corpus("one more", lambda: iter(DOCUMENTS[41:])), at)
    assert report.weighed_by == 42  # by what the index holds, not by what came last
    assert inspect_index(str(at))["weighed"] is True
    assert hybrid_search.load(corpus(), at).weighed_by == 0


def test_weighing_can_be_left_to_a_later_load(tmp_path: Path, model: Path) -> None:
    asking_to_weigh(model)
    first = hybrid_search.load(corpus(), tmp_path / "index", model=model, options=LoadOptions(weigh=False))
    assert (first.weights, first.weighed_by, first.not_weighed) == ((0.5, 0.5), 0, "that was left to a later load")
    assert hybrid_search.load(corpus(), tmp_path / "index").weighed_by == 42


def test_only_what_lost_a_sentence_is_encoded_again_and_the_choice_is_the_same(tmp_path: Path) -> None:
    whole = [*DOCUMENTS, *(Document(f"s{number}", f"The {noun} alone.") for number, noun in enumerate(NOUNS))]
    encoder = Encoder(knows=True)
    with EmbeddedEngine.create(tmp_path / "index", settings()) as engine:
        engine.add(whole, encoder.encode_documents([one.text for one in whole]))
        engine.commit()
        encoder.encoded = 0
        fit = fit_on_made_queries(whole, encoder, settings(), silent, engine)
    assert encoder.encoded == 42 + 42  # these documents, and their queries
    assert fit == fit_on_made_queries(whole, encoder, settings(), silent)
    assert encoder.encoded == 84 + 42 + 42 + 42


def test_a_failure_of_weighing_ends_no_load(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asking_to_weigh(model)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "there is no such folder"))
    report = hybrid_search.load(corpus(), tmp_path / "index", model=model)
    assert report.documents == 42
    assert "there is no such folder" in report.not_weighed
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert hybrid_search.load(corpus(), tmp_path / "index").weighed_by == 42
