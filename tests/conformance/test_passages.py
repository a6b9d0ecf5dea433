"""An index of passages answers with documents, on every engine alike: a document ranks as its best passage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hybrid_search.passages import document_of, passage_id
from hybrid_search.protocols import Engine
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import MODES, Search
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.types import Document

WORDS = ["flea", "flea flea", "flea cat", "cat", "flea dog", "dog"]
FUSION = Fusion(window=40)


def made(document: int, passages: int) -> list[Document]:
    """Make a document's passages, each with other words and another length."""
    return [
        Document(
            passage_id(f"d{document:02}", number),
            f"{WORDS[(document * 5 + number * 3) % 6]} {'filler ' * ((document * 7 + number * 11) % 13)}",
            metadata={
                "passage_of": f"d{document:02}", "passage": number, "passages": passages, "odd": document % 2 == 1
            },
        )
        for number in range(1, passages + 1)
    ]  # fmt: skip


CORPUS = [one for document in range(30) for one in made(document, 1 + document % 4)]
ANGLES = np.arange(len(CORPUS)) * 2.4
VECTORS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype(np.float32)
ASKED = Search.of(
    ["flea", "cat dog"], 4, vectors=np.array([[1, 0], [0.6, 0.8]], np.float32), fusion=FUSION, group=2
)  # fmt: skip


@pytest.fixture
def passages(make_engine) -> Engine:
    engine = make_engine(IndexSettings(dimension=2, fingerprint="towers"))
    assert engine.add(CORPUS, VECTORS) == []
    engine.commit()
    return engine


@pytest.mark.parametrize("mode", MODES)
def test_a_document_ranks_as_its_best_passage_and_brings_the_next_ones(passages: Engine, mode) -> None:
    asked = replace(ASKED, mode=mode, fusion=FUSION if mode == "hybrid" else None)
    single = passages.search(replace(asked, k=80, group=0))
    for hits, ranked, of_passages in zip(passages.search(asked), passages.rank(asked), single, strict=True):
        groups: dict[str, list] = {}
        for one in of_passages:
            groups.setdefault(document_of(one.id), []).append(one)
        expected = list(groups.items())[:4]
        assert [(hit.id, hit.rank) for hit in hits] == [(id, rank) for rank, (id, _) in enumerate(expected, 1)]
        for hit, (_, best) in zip(hits, expected, strict=True):
            assert [(one.id, one.rank, one.text) for one in hit.passages] == [
                (one.id, one.rank, one.text) for one in best[:2]
            ]
            assert (hit.score, hit.text) == (pytest.approx(best[0].score), best[0].text)
            assert dict(hit.legs).keys() == dict(best[0].legs).keys()
        assert ranked.ids == tuple(hit.id for hit in hits)
        assert ranked.scores == pytest.approx([hit.score for hit in hits])


@pytest.mark.parametrize("mode", MODES)
def test_pages_are_the_parts_of_one_ranking_and_a_filter_holds_before_the_best_are_taken(
    passages: Engine, mode
) -> None:
    asked = replace(ASKED, mode=mode, fusion=FUSION if mode == "hybrid" else None)
    asked = replace(asked, filter=Search.of([""], 1, filter="odd = true").filter)
    [whole, _] = passages.search(replace(asked, k=30))
    pages = [passages.search(replace(asked, k=3, offset=offset))[0] for offset in range(0, 30, 3)]
    assert [hit for page in pages for hit in page] == whole
    assert len({hit.id for hit in whole}) == len(whole) > 6
    assert all(int(hit.id[1:]) % 2 for hit in whole)


def test_many_passages_of_one_document_do_not_hide_the_others(make_engine) -> None:
    engine = make_engine(IndexSettings())
    book = [
        Document(passage_id("book", n), "flea", metadata={"passage_of": "book", "passage": n, "passages": 300})
        for n in range(1, 301)
    ]
    note = Document(
        passage_id("note", 1), "flea and more", metadata={"passage_of": "note", "passage": 1, "passages": 1}
    )
    engine.add([*book, note], None)
    engine.commit()
    [hits] = engine.search(Search.of(["flea"], 2, "bm25", group=1))
    assert [(hit.id, len(hit.passages)) for hit in hits] == [("book", 1), ("note", 1)]


def test_a_document_is_replaced_and_deleted_as_a_whole(make_engine) -> None:
    with Retriever(None, make_engine(IndexSettings())) as retriever:
        retriever.add([*made(3, 4), *made(5, 2)])
        retriever.add(made(3, 2))
        assert [one.id for one in retriever.engine.documents()] == ["d03#p1", "d03#p2", "d05#p1", "d05#p2"]
        assert retriever.delete(["d03", "unknown"]) == 2
        assert [one.id for one in retriever.engine.documents()] == ["d05#p1", "d05#p2"]
        assert [hit.id for hit in retriever.search("flea cat dog filler", mode="bm25")] == ["d05"]
        assert {hit.id for hit in retriever.search("flea cat dog filler", mode="bm25", group=0)} == {"d05#p1", "d05#p2"}


def test_a_documents_id_gets_it_put_together_of_its_passages(passages: Engine) -> None:
    retriever = Retriever(None, passages)
    whole, passage, nobody = retriever.get(["d03", "d03#p2", "d99"])
    assert nobody is None
    assert passage == CORPUS[CORPUS.index(passage)]
    parts = [one for one in CORPUS if document_of(one.id) == "d03"]
    assert whole is not None
    assert (whole.id, dict(whole.metadata)) == ("d03", {"odd": True})
    assert all(part.text.split()[0] in whole.text for part in parts)
