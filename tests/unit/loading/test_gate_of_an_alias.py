"""The gate before an alias moves: a candidate that answers judged queries significantly worse does not pass."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from made_models import make_model

import hybrid_search
from hybrid_search.cli.swapped import gate_of
from hybrid_search.errors import SearchIndexError, UsageError
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.loading.gate import Gate, against
from hybrid_search.loading.load import LoadOptions, load
from hybrid_search.loading.sources import Corpus
from hybrid_search.settings.index import Fusion
from hybrid_search.types import Document

WORDS = [f"word{number}" for number in range(12)]


@pytest.fixture
def judged(tmp_path: Path):
    """Twelve queries of a word each, which one document has."""
    folder = tmp_path / "judged"
    folder.mkdir()
    (folder / "documents.jsonl").write_text(json.dumps({"id": "d0", "text": "word0"}) + "\n")
    lines = (json.dumps({"id": f"q{n}", "text": word}) for n, word in enumerate(WORDS))
    (folder / "queries.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "qrels.test.tsv").write_text("".join(f"q{n}\td{n}\t1\n" for n in range(len(WORDS))))
    return open_dataset("jsonl", folder, reject=pytest.fail)


def index(tmp_path: Path, name: str, texts: list[str]) -> str:
    documents = [Document(f"d{number}", text) for number, text in enumerate(texts)]
    load(Corpus("made", lambda: iter(documents)), tmp_path / name, options=LoadOptions(lexical_only=True))
    return str(tmp_path / name)


def test_an_index_as_good_as_the_live_one_passes_and_one_that_finds_less_does_not(tmp_path, judged) -> None:
    live = index(tmp_path, "live", WORDS)
    same = against(live, index(tmp_path, "same", [f"{word} more" for word in WORDS]), judged)
    assert same.passed
    assert same.told.startswith("nDCG@10 of bm25 1.0000, 1.0000 live, +0.0000, p 1.0000, 0 queries better, 0 worse")
    worse = against(live, index(tmp_path, "worse", [*WORDS[:4], *["nothing"] * 8]), judged)
    assert not worse.passed
    # Eight of twelve queries lose all; of the 2^8 ways to swap them two are as far from 0: p = 2/256.
    assert "0.3333, 1.0000 live, -0.6667, p 0.0078, 0 queries better, 8 worse; significantly worse" in worse.told


def test_what_either_index_answers_by_default_is_compared_with_vectors_or_without(tmp_path, judged) -> None:
    # Random towers: the hybrid that gives them all the weight finds next to nothing of what BM25 does.
    model = make_model(tmp_path / "model", WORDS, seed=1)
    with_towers = LoadOptions(fusion=Fusion(weights=(0.0, 1.0)))
    shuffled = [
        Document(f"d{number}", f"{word} {WORDS[number - 1]} {WORDS[number - 2]}") for number, word in enumerate(WORDS)
    ]
    load(Corpus("made", lambda: iter(shuffled)), tmp_path / "towers", model=model, options=with_towers)
    plain = index(tmp_path, "plain", WORDS)
    lost = against(plain, str(tmp_path / "towers"), judged)
    assert not lost.passed
    assert re.match(r"nDCG@10 of hybrid 0\.\d+, 1\.0000 live with bm25, -0", lost.told)
    won = against(str(tmp_path / "towers"), plain, judged)
    assert won.passed
    assert re.match(r"nDCG@10 of bm25 1\.0000, 0\.\d+ live with hybrid, \+0", won.told)


def test_a_little_worse_by_chance_passes(tmp_path, judged) -> None:
    live = index(tmp_path, "live", WORDS)
    assert against(live, index(tmp_path, "next", [*WORDS[:9], *["nothing"] * 3]), judged).passed


def test_an_index_in_a_folder_is_replaced_only_by_one_that_passes_the_gate(tmp_path, judged) -> None:
    place, new = Path(index(tmp_path, "live", WORDS)), LoadOptions(lexical_only=True, recreate=True)

    def built_anew(texts: list[str], gate: Gate) -> int:
        documents = [Document(f"d{number}", text) for number, text in enumerate(texts)]
        return load(Corpus("made", lambda: iter(documents)), place, options=new, gate=gate).documents

    with pytest.raises(SearchIndexError, match=r"significantly worse; the index in .*live is as it was"):
        built_anew([*WORDS[:4], *["nothing"] * 8], Gate(judged=judged))
    with pytest.raises(SearchIndexError, match=r"9, 12 in .*: 3 fewer, more than a tenth"):
        built_anew(WORDS[:9], Gate())
    with hybrid_search.open(place) as retriever:
        assert retriever.count() == 12
    assert built_anew(WORDS[:9], Gate(may_be_smaller=True, judged=judged)) == 9


def test_gate_and_stage_are_for_an_alias_and_a_gate_names_its_loader_or_is_json_lines(tmp_path, judged) -> None:
    with pytest.raises(UsageError, match="--gate and --stage are for an alias"):
        gate_of(None, None, stage=True, may_be_smaller=False)
    folder = tmp_path / "judged"
    for named in (str(folder), f"jsonl:{folder}"):
        gate = gate_of(named, "passages", stage=False, may_be_smaller=True)
        assert (gate.judged.splits(), gate.may_be_smaller) == (("test",), True)
