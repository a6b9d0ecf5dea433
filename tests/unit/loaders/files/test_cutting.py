"""Long texts become passages: where they are cut, what they repeat, what they are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.errors import UsageError
from hybrid_search.loaders import registry
from hybrid_search.loaders.cutting import Cutter
from hybrid_search.loaders.files import open_dataset
from hybrid_search.passages import Pieces
from hybrid_search.types import Document, Section, SectionedDocument


def texts(document, **options):
    return [one.text for one in Cutter(**options).passages(document)]


def test_a_passage_has_the_title_with_the_headings_and_says_which_document_it_is_of():
    sections = (Section((), "one " * 10), Section(("Linux", "Debian"), "two " * 10))
    made = list(Cutter(words=12).passages(SectionedDocument("a.md", "", "Setup", {"year": 3}, sections)))
    assert [(one.id, one.title, dict(one.metadata)) for one in made] == [
        ("a.md#p1", "Setup", {"year": 3, "passage_of": "a.md", "passage": 1, "passages": 2}),
        (
            "a.md#p2",
            "Setup › Linux › Debian",
            {"year": 3, "passage_of": "a.md", "passage": 2, "passages": 2, "heading": "Linux › Debian"},
        ),
    ]


def test_a_section_is_cut_between_sentences_and_repeats_the_last_ones_that_fit():
    text = "One two three four. Five six. Seven eight nine ten. Eleven twelve."
    assert texts(Document("a", text), words=7, overlap=2) == [
        "One two three four. Five six.",
        "Five six. Seven eight nine ten.",
        "Eleven twelve.",
    ]


def test_short_sections_are_joined_and_the_second_heading_stands_in_the_text():
    sections = (Section(("A",), "one two"), Section(("B",), "three four"), Section(("C",), "five six seven eight nine"))
    document = SectionedDocument("a", "", "", {}, sections)
    assert texts(document, words=9) == ["one two\n\nB\n\nthree four", "five six seven eight nine"]


def test_a_sentence_without_an_end_and_a_word_without_blanks_are_cut_too():
    assert texts(Document("a", "w " * 25), words=10, overlap=0) == [
        "w w w w w w w w w w",
        "w w w w w w w w w w",
        "w w w w w",
    ]
    assert [len(text) for text in texts(Document("a", "x" * 150), words=10, overlap=0)] == [60, 60, 30]


def test_a_document_of_a_title_alone_is_one_passage():
    [made] = Cutter().passages(Document("a", "", "Fleas"))
    assert (made.id, made.title, made.text, made.metadata["passages"]) == ("a#p1", "Fleas", "", 1)


@given(st.lists(st.text(alphabet="ab .\n。", max_size=60), max_size=5), st.integers(20, 40), st.integers(0, 10))
def test_every_word_is_in_a_passage_and_none_is_longer_than_asked(parts, words, overlap):
    sections = tuple(Section((str(n),), text) for n, text in enumerate(parts))
    made = texts(SectionedDocument("a", "", "t", {}, sections), words=words, overlap=overlap)
    assert {word for text in parts for word in text.split()} <= {word for text in made for word in text.split()}
    assert all(len(text.split()) <= words + len(parts) for text in made)


def test_the_data_set_gives_passages_of_as_many_words_as_its_configuration_says(put, folder):
    put("a.txt", "One two three. " * 20)
    data = open_dataset(folder, reject=pytest.fail, config="20")
    assert [one.id for one in data.documents()] == ["a.txt#p1", "a.txt#p2", "a.txt#p3", "a.txt#p4"]
    assert data.report() == {"documents": 1, "passages": 4, "files": 1}
    with pytest.raises(UsageError, match="it must be 'passages', the most words of a passage") as raised:
        open_dataset(folder, reject=pytest.fail, config="12 words")
    assert "20 to 10000, or 'whole'" in str(raised.value)


LETTERS = Pieces(lambda text: len("".join(text.split())), 30)
"""Towers for which each letter is a piece."""


def test_where_the_towers_are_known_a_passage_has_as_many_pieces_as_they_read_with_its_title():
    document = Document("a", "One two three. Four five. Six seven. Eight nine ten.", "Numbers")
    made = list(Cutter(30, 6, LETTERS).passages(document))
    assert [one.text for one in made] == ["One two three. Four five.", "Six seven. Eight nine ten."]
    assert all(LETTERS.count(one.searchable_text) <= 30 for one in made)


@given(st.lists(st.text(alphabet="ab .\n。", max_size=90), max_size=5), st.integers(0, 12))
def test_no_passage_has_more_pieces_than_the_towers_read(parts, overlap):
    sections = tuple(Section((str(n),), text) for n, text in enumerate(parts))
    made = list(Cutter(30, overlap, LETTERS).passages(SectionedDocument("a", "", "t", {}, sections)))
    assert {word for text in parts for word in text.split() if len(word) < 10} <= {
        word for one in made for word in one.text.split()
    }
    assert all(LETTERS.count(one.searchable_text) <= 30 for one in made)


def test_records_of_json_lines_are_cut_if_that_is_asked_for(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "n", "title": "Numbers", "text": "One two three. Four five. Six seven.", "year": 3}\n')
    whole = registry.open_dataset("jsonl", path, reject=pytest.fail, pieces=LETTERS)
    assert [one.id for one in whole.documents()] == ["n"]
    cut = registry.open_dataset("jsonl", path, reject=pytest.fail, config="passages", pieces=LETTERS)
    assert [(one.id, one.text, one.metadata["year"]) for one in cut.documents()] == [
        ("n#p1", "One two three. Four five.", 3),
        ("n#p2", "Six seven.", 3),
    ]
    assert cut.report() == {"documents": 1, "passages": 2}
    with pytest.raises(UsageError, match=r"the configuration of jsonl is 'v1\.1'"):
        registry.open_dataset("jsonl", path, reject=pytest.fail, config="v1.1")
