"""Which texts a general model may learn from, and what is cut out of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from hybrid_search.errors import DataError
from hybrid_search.training.general.texts import KINDS, GeneralTexts, may_be_shipped

TEXT = "The tide rises twice a day along the northern coast. Fishermen mend nets, and gulls wait on the harbour wall."


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("CC BY-SA 3.0", True),
        ("public domain / CC0", True),
        ("GPL-2+ or CC BY-SA 3.0", True),
        ("GPL-1+ or Artistic", True),
        ("free (GPL, BSD, verbatim), as each page", True),
        ("GPL-2", False),
        ("GFDL 1.1+ / GPL", False),
        ("GPL-3+ / public domain", False),
        ("GPL-3+ (manual)", False),
    ],
)
def test_weights_are_trained_on_what_leaves_another_choice_than_gpl_and_gfdl(licence: str, allowed: bool) -> None:
    assert may_be_shipped(licence) == allowed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Passages of three sources, and one whose 150 words are the most common, so that no phrase begins with them."""
    passages = [
        {"id": f"{source}/{number}", "title": f"Coast: Part {number}", "text": f"{TEXT} {number} in the {source} book."}
        for source in ("free", "closed", "recipes")
        for number in range(20)
    ]
    passages.append({"id": "free/common", "title": "Common", "text": " ".join(f"w{n}" for n in range(150)) * 99})
    with gzip.open(tmp_path / "passages-00.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(passage) + "\n" for passage in passages)
    with gzip.open(tmp_path / "queries.txt.gz", "wt") as file:
        file.writelines(f"when does the tide rise at {number}\n" for number in range(81))
    rows = ["id_prefix\tlicence", "free\tCC BY 4.0", "closed\tGPL-3+", "recipes\tpublic domain"]
    (tmp_path / "SOURCES.tsv").write_text("\n".join(rows))
    return tmp_path


def test_lots_hold_out_whole_sources_and_some_queries_and_leave_closed_sources_out(folder: Path) -> None:
    texts = GeneralTexts(folder)
    assert texts.left_out == ["closed"]
    held, queries, passages = texts.lots(texts.words())
    assert [lot.name for lot in (held, queries, passages)] == ["held", "a-0000", "b-0000"]
    kinds = [KINDS[kind] for kind, _ in held.texts]
    assert (kinds.count("passage"), kinds.count("query")) == (20, 3)  # every fortieth line of 81
    trained = [text for kind, text in passages.texts if KINDS[kind] == "passage"]
    assert len(trained) == 21
    assert {text.startswith("Coast: Part") for text in trained} == {True, False}  # some with their title
    assert not {text for _, text in held.texts} & {text for _, text in [*queries.texts, *passages.texts]}


def test_what_is_cut_out_is_of_the_passage_and_comes_once(folder: Path) -> None:
    texts = GeneralTexts(folder)
    passages = list(texts.lots(texts.words()))[-1]
    cut = [(KINDS[kind], text) for kind, text in passages.texts if kind]
    assert {kind for kind, _ in cut} >= {"title", "sentence", "phrase"}
    assert len({text for _, text in cut}) == len(cut)
    whole = " ".join(text for kind, text in passages.texts if not kind)
    assert all(text in whole for kind, text in cut if kind in ("sentence", "phrase"))
    assert list(texts.lots(texts.words()))[-1] == passages


def test_a_folder_without_passages_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no passages-\*\.jsonl\.gz or no queries\.txt\.gz"):
        GeneralTexts(tmp_path)
