"""What an index was declared with goes over to the one that replaces it; another type than a field has is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import hybrid_search
from hybrid_search import Document, LoadOptions
from hybrid_search.cli import cli
from hybrid_search.cli.output import in_options
from hybrid_search.errors import IndexExists
from hybrid_search.loading.load import LoadReport
from hybrid_search.loading.reindex import keeping_fields
from hybrid_search.loading.sources import Corpus
from hybrid_search.models import inspect_index
from hybrid_search.opening import open_engine
from hybrid_search.settings.index import Bm25, Fusion

GERMAN = {"language": "de", "fields": {"at": "date", "size": "double"}, "bm25": Bm25(k1=0.9), "faiss": "Flat"}


def loaded(index: Path, metadata: Mapping[str, Any], text: str = "the tide is out", **options: Any) -> LoadReport:
    corpus = Corpus("pages", lambda: iter([Document("a", text, metadata=metadata)]))
    return hybrid_search.load(corpus, index, options=LoadOptions(lexical_only=True, **options))


def test_an_index_built_anew_has_what_the_old_one_was_declared_with_and_says_so(tmp_path: Path) -> None:
    index = tmp_path / "index"
    loaded(index, {"at": "2024-05-01", "size": 2, "year": 1}, **GERMAN)
    for _ in range(2):  # what was taken over is declared in turn
        report = loaded(index, {"at": "2024-05-01", "size": "3", "year": "none"}, recreate=True)
        told = ("field at date", "field size double", "language de", "BM25 k1 0.9 b 0.75", "faiss Flat")
        assert (report.taken_over, report.rejected) == (told, 0)
        now = inspect_index(str(index))
        # The type of a field that only values had declared is that of the new values.
        assert now["fields"] == {"at": "date", "size": "double", "year": "keyword"}
        assert (now["language"], now["bm25"]["k1"], now["faiss"]) == ("de", 0.9, "Flat")


def test_what_is_given_goes_before_what_is_taken_over(tmp_path: Path) -> None:
    index = tmp_path / "index"
    loaded(index, {"at": "2024-05-01"}, **GERMAN)
    given = {"language": "en", "fields": {"at": "keyword"}, "bm25": Bm25(k1=2.0), "faiss": "HNSW32"}
    report = loaded(index, {"at": "2024-05-01"}, recreate=True, **given)
    assert (report.taken_over, report.absent) == (("field size double",), ["size"])
    now = inspect_index(str(index))
    assert (now["language"], now["fields"]["at"], now["bm25"]["k1"], now["faiss"]) == ("en", "keyword", 2.0, "HNSW32")


def test_what_texts_and_values_have_chosen_is_chosen_again(tmp_path: Path) -> None:
    index = tmp_path / "index"
    assert loaded(index, {"year": 1}, "東京都の天気は晴れです。京都の猫は三匹います。" * 9).language == "cjk"
    report = loaded(index, {"year": "first"}, "The weather is fine, and there are cats. " * 9, recreate=True)
    assert (report.language, report.rejected, report.taken_over) == ("en", 0, ())


def test_a_fusion_that_somebody_chose_is_taken_over_and_one_that_a_load_chose_is_not(tmp_path: Path) -> None:
    index, chosen = tmp_path / "index", Fusion(weights=(0.3, 0.7), window=50)
    loaded(index, {})
    for asked_for in (False, True):
        with hybrid_search.open(index, writable=True) as retriever:
            retriever.engine.set_fusion(chosen, asked_for=asked_for)
            retriever.engine.commit()
        report = loaded(index, {}, recreate=True)
        assert report.taken_over == (("fusion min_max 0.3/0.7",) if asked_for else ())
        assert (inspect_index(str(index))["fusion"]["window"] == 50) is asked_for


def test_another_type_than_a_field_has_is_refused_and_a_new_field_is_declared(tmp_path: Path) -> None:
    index = tmp_path / "index"
    loaded(index, {"published": "2024-05-01"})
    with pytest.raises(IndexExists) as refused:
        loaded(index, {"published": "2024-05-01"}, fields={"published": "date"})
    assert in_options(str(refused.value)) == (
        f"{index}: the metadata field published is keyword in the index, asked for date; a field keeps its type: leave "
        "it out, or build the index anew with --recreate"
    )
    assert loaded(index, {"at": "2024-05-01"}, fields={"published": "keyword", "at": "date"}).absent == ["published"]
    assert inspect_index(str(index))["fields"] == {"published": "keyword", "at": "date"}
    assert loaded(index, {"at": "2024-05-01"}, recreate=True).taken_over == ("field at date",)


def test_reindexing_keeps_fields_language_and_the_bm25_that_was_asked_for(tmp_path: Path) -> None:
    index = tmp_path / "index"
    loaded(index, {"at": "2024-05-01", "year": 1}, **GERMAN)
    with open_engine(index) as engine:
        kept = keeping_fields(engine, None)
    assert kept.fields == {"at": "date", "size": "double", "year": "long"}
    assert (kept.language, kept.bm25) == ("de", Bm25(k1=0.9))


def test_the_command_line_says_what_it_took_over_and_which_field_no_document_has(tmp_path: Path) -> None:
    (tmp_path / "tz.jsonl").write_text('{"id": "a", "text": "die Flut", "at": "2024-05-01T10:00:00+02:00"}\n')
    load = ["load", "jsonl", "--path", str(tmp_path / "tz.jsonl"), "--to", str(tmp_path / "tz"), "--lexical-only"]
    first = CliRunner().invoke(
        cli, [*load, "--language", "de", "--field", "at:date", "--field", "n:long", "--bm25-k1", "0.9"]
    )
    assert (first.exit_code, "n is a declared field, and none of these documents has one." in first.stderr) == (0, True)
    second = CliRunner().invoke(cli, [*load, "--recreate"])
    told = "Taken over from the index that was there: field at date, field n long, language de, BM25 k1 0.9 b 0.75."
    assert (second.exit_code, told in second.stderr) == (0, True)
