"""On which queries a fusion's weights are fitted again, and when they are not."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import DataError, UsageError
from hybrid_search.settings.index import IndexSettings
from hybrid_search.training.fit.refit import _check_enough, _split, refit
from hybrid_search.types import Document
from loaders.registry import open_dataset


@pytest.mark.parametrize(
    ("splits", "chosen"),
    [(("train", "dev", "test"), "dev"), (("train", "validation", "test"), "validation"), (("all",), "all")],
)
def test_without_a_name_it_is_neither_what_was_trained_on_nor_what_is_measured_on(
    splits: tuple[str, ...], chosen: str
) -> None:
    assert _split(SimpleNamespace(name="x", splits=lambda: splits), "") == chosen


def test_where_there_are_only_these_a_split_must_be_named() -> None:
    dataset = SimpleNamespace(name="mine", splits=lambda: ("train", "test"))
    with pytest.raises(UsageError, match="mine has none of the splits dev, validation, all; name the split"):
        _split(dataset, "")
    assert _split(dataset, "test") == "test"
    with pytest.raises(UsageError, match="no split 'tset'; there are train, test"):
        _split(dataset, "tset")


def test_a_handful_of_queries_changes_nothing() -> None:
    with pytest.raises(DataError, match=r"split 'dev' has 9 queries.*fewer than 10"):
        _check_enough([None] * 9, "mine", "dev")


def test_an_index_without_vectors_has_nothing_to_weigh(tmp_path: Path) -> None:
    with closing(EmbeddedEngine.create(tmp_path / "index", IndexSettings())) as engine:
        engine.add([Document("a", "a text")], None)
        engine.commit()
    data = tmp_path / "data"
    (data / "qrels").mkdir(parents=True)
    (data / "documents.jsonl").write_text(json.dumps({"id": "a", "text": "a text"}) + "\n")
    (data / "queries.jsonl").write_text(json.dumps({"id": "q", "text": "text"}) + "\n")
    (data / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\n")
    with pytest.raises(UsageError, match="holds no vectors"):
        refit(tmp_path / "index", open_dataset("jsonl", data, reject=print))
