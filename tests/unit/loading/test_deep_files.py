"""JSON that is nested deeper than any reader goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_search.errors import ConfigError, CorruptModel
from hybrid_search.loading.journal import Journal
from hybrid_search.models import _training_report
from hybrid_search.settings.index import IndexSettings
from hybrid_search.towers.model_card import read_model_card

DEEP = '{"a":' * 100_000


def test_a_model_that_describes_itself_too_deeply_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(DEEP)
    with pytest.raises(CorruptModel, match="is not readable"):
        read_model_card(tmp_path)


def test_what_training_tells_too_deeply_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text(DEEP)
    assert _training_report(tmp_path) == {}


def test_settings_that_are_nested_too_deeply_are_told_from_good_ones() -> None:
    with pytest.raises(ConfigError):
        IndexSettings.from_json('{"fields":' * 100_000, source="the index")


def test_a_journal_that_is_nested_too_deeply_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path))
    journal = Journal("opensearch://h/i", "d")
    journal.path.parent.mkdir(parents=True)
    journal.path.write_text('{"location":' * 100_000)
    with pytest.raises(Exception, match="can't be read"):
        journal.read()
