"""A document that was cut into passages is put together again."""

from __future__ import annotations

import pytest

from hybrid_search.loaders.cutting import Cutter
from hybrid_search.passages import joined
from hybrid_search.types import Document, Section, SectionedDocument

SENTENCES = [f"This is the sentence of the number {number}, which says what it says." for number in range(60)]


@pytest.mark.parametrize("words", [20, 50, 120, 10_000])
def test_what_passages_repeat_is_there_once(words: int) -> None:
    text = " ".join(SENTENCES)
    document = Document("a.md", text, "Numbers", {"kind": "text"})
    passages = list(Cutter(words, words // 5).passages(document))
    whole = joined("a.md", passages)
    assert whole.text.split() == text.split()  # where nothing was repeated, a paragraph ends
    assert (whole.id, whole.title, dict(whole.metadata)) == ("a.md", "Numbers", {"kind": "text"})


def test_paragraphs_and_headings_stay_apart() -> None:
    sections = (Section(("One",), " ".join(SENTENCES[:9])), Section(("Two",), " ".join(SENTENCES[9:20])))
    document = SectionedDocument("a.md", "", "Numbers", {}, sections)
    passages = list(Cutter(60, 12).passages(document))
    assert len(passages) > 2
    whole = joined("a.md", passages)
    assert (whole.id, whole.title) == ("a.md", "Numbers")
    assert [whole.text.count(sentence) for sentence in SENTENCES[:20]] == [1] * 20


def test_one_letter_that_two_passages_share_at_their_border_is_no_repetition() -> None:
    passages = [
        Document(f"a#p{number}", text, metadata={"passage_of": "a", "passage": number, "passages": 2})
        for number, text in enumerate(["It ends with a t", "t begins it"], 1)
    ]
    assert joined("a", passages) == Document("a", "It ends with a t\n\nt begins it")
