"""What is nearest to words and documents, with the model that comes with the package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import hybrid_search
from hybrid_search import Document
from hybrid_search.cli import cli
from hybrid_search.evaluation.diagnose import diagnose
from hybrid_search.evaluation.neighbours import nearest_to, telling_words
from hybrid_search.loading.sources import Corpus
from hybrid_search.retrieval.retriever import Retriever

TEXTS = [
    "The doctor saw the sick child at the clinic.",
    "A physician treats patients in a hospital.",
    "Banks lend money, and take interest for it.",
    "The bank raised the price of loans, and money was dear.",
    "A kitten is a young cat.",
    "The dog and the cat are animals that people keep.",
]
DOCUMENTS = [Document(f"d{number}", text) for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("near") / "index"
    hybrid_search.load(Corpus("texts", lambda: iter(DOCUMENTS)), folder)
    return folder


@pytest.fixture(scope="module")
def retriever(place: Path) -> Iterator[Retriever]:
    with hybrid_search.open(place) as opened:
        yield opened


def test_a_word_has_the_words_of_the_documents_that_mean_the_like(retriever: Retriever) -> None:
    (near,) = nearest_to(retriever, DOCUMENTS, ["Doctor"])
    names = [name for name, _ in near.found]
    assert (near.is_document, len(names)) == (False, 8)
    assert names[0] == "physician"
    assert "doctor" not in names
    one, other = retriever.encode_queries(["Doctor", "physician"])
    assert near.found[0][1] == pytest.approx(float(one @ other), abs=1e-4)
    assert list(near.found) == sorted(near.found, key=lambda pair: -pair[1])


def test_an_id_has_the_nearest_documents_by_their_vectors(retriever: Retriever) -> None:
    (near,) = nearest_to(retriever, DOCUMENTS, ["d2"])
    vectors = retriever.encode_documents(TEXTS)
    order = [f"d{row}" for row in np.argsort(-(vectors @ vectors[2])) if row != 2]
    assert near.is_document
    assert [id for id, _ in near.found] == order[:3]


def test_what_is_neither_an_id_nor_a_known_word_has_nothing_near(retriever: Retriever) -> None:
    assert [near.found for near in nearest_to(retriever, DOCUMENTS, ["", "\x00", "🦀"])] == [(), (), ()]
    assert nearest_to(retriever, [], ["doctor"])[0].found == ()


def test_telling_words_are_frequent_but_not_everywhere() -> None:
    sample = [Document(f"{n}", "alike " + ("rhubarb" if n < 4 else "other words") + f" single{n}") for n in range(40)]
    assert telling_words(sample, 3) == ["rhubarb"]


def test_diagnose_shows_what_is_asked_for_and_else_some_of_its_own(place: Path) -> None:
    asked = CliRunner().invoke(cli, ["diagnose", str(place), "--near", "doctor", "--near", "d4", "--near", "🦀"])
    assert asked.exit_code == 0
    shown = " ".join(asked.stdout.split())
    assert "physician 0." in shown
    assert "no word that the towers know" in shown
    assert [one.to for one in diagnose(place).near][-1] == "d0"
