"""The script of the whole MS MARCO task: what it makes of a folder, and that it does nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import msmarco_full
from benchmarks.msmarco_full import Stages, view


def files(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_text(name)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(link.name for link in folder.iterdir())


def test_official_files_get_the_names_that_the_loader_knows(tmp_path: Path) -> None:
    data = files(
        tmp_path / "data", "collection.tsv.gz", "queries.train.tsv", "qrels.train.tsv",
        "msmarco-test2019-queries.tsv.gz", "2019qrels-pass.txt", "2020qrels-pass.txt", "README",
    )  # fmt: skip
    linked = view(data, tmp_path / "view")
    assert names(linked) == [
        "collection.tsv.gz", "qrels.dl19.txt", "qrels.dl20.txt", "qrels.train.tsv", "queries.dl19.tsv.gz",
        "queries.train.tsv",
    ]  # fmt: skip
    assert (linked / "queries.dl19.tsv.gz").read_text() == "msmarco-test2019-queries.tsv.gz"
    assert names(view(data, tmp_path / "view")) == names(linked)


def test_triples_are_for_a_folder_without_training_judgements(tmp_path: Path) -> None:
    triples = "triples.train.small.tsv"
    judged = files(tmp_path / "judged", "collection.tsv", "qrels.train.tsv", triples)
    assert triples not in names(view(judged, tmp_path / "one"))
    assert triples in names(view(files(tmp_path / "bare", "collection.tsv", triples), tmp_path / "two"))


def test_a_stage_that_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run(arguments: list[str]) -> tuple[object, dict[str, object], float]:
        ran.append(arguments[0])
        return (
            {"systems": {"bm25": {"RR@10": 0.18404, "nDCG@10": 0.2, "R@100": 0.6, "R@1000": 0.8, "AP": 0.1}}},
            {},
            1.5,
        )

    monkeypatch.setattr(msmarco_full, "_run", run)
    for _ in range(2):
        stages = Stages(tmp_path / "stages.json")
        stages.run("train", [], is_done=True)
        stages.run("load", [])
        stages.run("evaluate", [], name="evaluate dl19")
    assert ran == ["load", "evaluate"]
    assert list(json.loads((tmp_path / "stages.json").read_text())) == ["load", "evaluate dl19", "machine"]
    assert stages.summary()["evaluate dl19"]["bm25"] == {"RR@10": 0.184, "nDCG@10": 0.2, "R@100": 0.6, "R@1000": 0.8}


def test_a_verb_that_fails_ends_the_script_with_its_code(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        Stages(tmp_path / "stages.json").run("load", ["nosuch", "--to", str(tmp_path / "index")])
    assert ended.value.code == 2
    assert not (tmp_path / "stages.json").exists()
