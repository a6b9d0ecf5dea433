"""A report takes what there is, says what there isn't, and shows names and texts as nothing but text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hybrid_search.errors import DataError, UsageError
from hybrid_search.evaluation.compare import Compared, Row
from hybrid_search.evaluation.diagnose import BINS, Diagnosis, Finding
from hybrid_search.evaluation.latency import Latency
from hybrid_search.evaluation.significance import Comparison
from hybrid_search.report.inputs import growth, read_inputs, timings

pytest.importorskip("matplotlib", reason="the extra 'report' is not installed")

from hybrid_search.report.page import page, write_pictures
from hybrid_search.report.pictures import plain

HOSTILE = '</text><script>alert("x")</script>"><img src=x onerror=alert(1)> $\\frac{1}$ \u202e\x07 ]]>'
SECRET = "what somebody asked"


def compared(name: str) -> Compared:
    def comparison(mean: float) -> Comparison:
        return Comparison(mean, (mean - 0.1, mean + 0.1), mean - 0.3, (-0.1, 0.3), 0.5, 0.5, 3, 2, 1)

    rows = [
        Row(one, {"nDCG@10": mean, "R@100": 0.5}, comparison(mean), 0, Latency(ms, 3.0, 4.0, 9.0), 9_000, True, 0.0)
        for one, mean, ms in (("bm25", 0.3, 0.5), (name, 0.4, 2.0))
    ]
    return Compared("test", "bm25", 6, ("nDCG@10", "R@100"), tuple(rows))


def evaluated(text: str) -> dict[str, Any]:
    example = {
        "query_id": "q1", "query": text, "bm25": 0.1, "hybrid": 0.9, "change": 0.8,
        "answer": {"id": "d1", "grade": 1, "ranks": {"bm25": None, "knn": 1, "hybrid": 2}, "title": "",
                   "snippet": text},
    }  # fmt: skip
    comparison = msgspec.to_builtins(compared("x").rows[0].comparison)
    return {
        "split": "test",
        "systems": {"bm25": {"nDCG@10": 0.3}, "hybrid": {"nDCG@10": 0.4}},
        "significance": {"measure": "nDCG@10", "systems": {"bm25": comparison, "hybrid": comparison}},
        "latency_ms": {"bm25": {"p50": 0.5, "p95": 0.8, "p99": 1.0}},
        "rates": {},
        "counts": {"queries": 3, "documents": 9},
        "against_bm25": {
            "measure": "nDCG@10", "wins": 1, "ties": 1, "losses": 1, "changes": {"q1": 0.8, "q2": 0.0, "q3": -0.2},
            "examples": {"wins": [example], "losses": []},
        },
    }  # fmt: skip


def write_all(folder: Path, name: str, text: str) -> Path:
    """Write one input of each kind; names and texts are those given."""
    finding = Finding("hubs", name, {"share": 0.2}, "look", text, (text,))
    cosines = {"two random documents": (0,) * 20 + (5,) * (BINS - 20)}
    (folder / "compared.json").write_bytes(msgspec.json.encode(compared(name)))
    (folder / "evaluated.json").write_text(json.dumps(evaluated(text)))
    (folder / "diagnosed.json").write_bytes(
        msgspec.json.encode(Diagnosis("./index", 9, 9, "test", 3, (finding,), cosines))
    )
    figures = {
        name: {"p50": 1.0, "p95": 2.0, "p99": 3.0},
        "growth": [{"documents": 1_000, "p50 ms": 1.0}, {"documents": 10_000, "p50 ms": 4.0}],
    }
    (folder / "search.json").write_text(
        json.dumps(
            {"benchmark": "search", "command": f"run {name}", "date": "d", "machine": {"cpu": name}, "figures": figures}
        )
    )
    trials = [
        {"number": number, "state": "complete", "settings": {name: number}, "measure": measure, "seconds": 2.0}
        for number, measure in enumerate((0.3, 0.5, None))
    ]
    swept = {"measure": "nDCG@10", "best": 1, "trials": trials, "importance": {name: 0.9}, "checked": {}}
    (folder / "swept.json").write_text(json.dumps(swept))
    model = folder / "model"
    model.mkdir()
    lines = [{"step": 0, "nDCG@10": 0.1}, {"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "nDCG@10": 0.2}]
    lines.append({"step": 2, "nDCG@10": 0.25, name: 3.0})
    (model / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 3, "lo')
    return folder


class Tags(HTMLParser):
    """Collects the tags, the attributes and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            self.ids += [value or ""] if name == "id" else []
            self.addresses += [value or ""] if name in ("href", "src", "xlink:href") else []

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_kind_of_input_is_shown_and_nothing_is_missing_but_what_is(tmp_path: Path) -> None:
    inputs = read_inputs([write_all(tmp_path, "towers", SECRET)])
    assert (list(inputs.comparisons), list(inputs.trainings)) == (["compared"], ["model"])
    assert inputs.trainings["model"].series["nDCG@10"] == [(0, 0.1), (2, 0.25)]  # of two with one step the later one
    assert [what for what, _ in inputs.missing] == ["a choice of the fusion"]
    shown = Tags(page(inputs, title="Test", commands=["hybrid-search report"]))
    for text in (
        "Systems compared",
        "0.400 [0.300, 0.500]",
        "1 wins, 1 ties, 1 losses",
        "a choice of the fusion",
        "hubs",
    ):
        assert text in shown.text
    files = write_pictures(tmp_path / "pictures", inputs)
    assert {file.read_bytes()[:4] for file in files} == {b"\x89PNG"}
    assert {re.sub(r"-\d.*", "", file.stem) for file in files} == {
        "training", "quality", "pareto", "systems", "changes", "speed", "cosines", "trials", "importance", "latency",
        "growth"
    }  # fmt: skip


def test_texts_of_queries_and_documents_are_shown_only_when_asked_for(tmp_path: Path) -> None:
    inputs = read_inputs([write_all(tmp_path, "towers", SECRET) / "evaluated.json"])
    assert SECRET not in page(inputs, title="Test")
    assert f"[q1] {SECRET}" in Tags(page(inputs, title="Test", texts=True)).text


def test_a_hostile_name_is_nothing_but_text(tmp_path: Path) -> None:
    inputs = read_inputs([write_all(tmp_path, HOSTILE, HOSTILE)])
    text = page(inputs, title=HOSTILE, texts=True, commands=[HOSTILE])
    found = Tags(text)
    assert not found.tags & {"script", "img", "iframe", "object", "link", "base", "form"}
    assert not [name for name in found.attributes if name.startswith("on")]
    assert all(address.startswith("#") for address in found.addresses)
    assert len(found.ids) == len(set(found.ids))
    assert "default-src 'none'" in text
    assert 'alert("x")' in found.text
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", text)


def test_the_same_inputs_give_the_same_page(tmp_path: Path) -> None:
    inputs = read_inputs([write_all(tmp_path, "towers", SECRET)])
    assert page(inputs, title="Test") == page(inputs, title="Test")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "truncated"),
        ("[1, 2]", "not what a verb, a training or a benchmark writes"),
        ('{"rows": [], "baseline": 3, "measures": []}', "str"),
        ("[" * 100_000, "recursion"),
        ('{"systems": {}, "significance": {"measure": "a", "systems": {"x": {"mean": "1"}}}}', "float"),
    ],
)
def test_a_file_that_fits_nothing_is_named_and_the_rest_goes_on(tmp_path: Path, text: str, why: str) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(text)
    good = tmp_path / "good"
    good.mkdir()
    inputs = read_inputs([bad, write_all(good, "towers", SECRET)])
    assert why in inputs.unused["bad"]
    assert "bad: " in Tags(page(inputs, title="Test")).text
    with pytest.raises(DataError, match="there is nothing to report in"):
        read_inputs([bad])


def test_what_is_not_there_is_refused_and_links_are_not_followed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file or folder"):
        read_inputs([tmp_path / "nosuch"])
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "compared.json").symlink_to(write_all(tmp_path, "towers", SECRET) / "compared.json")
    with pytest.raises(DataError, match="no file of a known kind"):
        read_inputs([folder])


def test_percentiles_and_sizes_are_found_wherever_a_benchmark_has_them() -> None:
    figures = {"a": {"b ms": {"p50": 1, "p95": 2, "p99": 3}, "c": {"p50 ms": 4, "p95 ms": 5, "p99 ms": 6}}, "n": 5}
    assert [(name, one.p50, one.p99) for name, one in timings(figures)] == [("a, b ms", 1, 3), ("a, c", 4, 6)]
    grown = {"x": [{"passages": 10, "MB": 1}, {"passages": 5, "MB": 0.5}], "y": [{"passages": 5}], "z": [1, 2]}
    assert list(growth(grown)) == [("x, MB", "passages", [(5, 0.5), (10, 1)])]


def test_a_name_is_cut_and_printable() -> None:
    assert plain("a\n\tb\x00c") == "a b c"
    assert plain("x" * 99, 32) == "x" * 31 + "…"
