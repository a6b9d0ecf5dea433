"""Hashes for a query log: equal for equal texts, useless without the key."""

from __future__ import annotations

import hashlib
import hmac
import stat
from pathlib import Path

import pytest

from hybrid_search.engines.opensearch.search.query_log import KEY_VARIABLE, hash_key, keyed_hash
from hybrid_search.errors import ConfigError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path))
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    return tmp_path / "query-log" / "key"


def test_case_spaces_and_unicode_forms_make_no_difference() -> None:
    assert keyed_hash("Read  a CSV\tfile", b"k" * 16) == keyed_hash("read a csv file", b"k" * 16)
    assert keyed_hash("ﬁle", b"k" * 16) == keyed_hash("FILE", b"k" * 16)


def test_it_is_an_hmac_of_the_normalised_text_and_another_key_gives_another_hash() -> None:
    expected = hmac.new(b"k" * 16, b"read a csv file", hashlib.sha256).hexdigest()[:32]
    assert keyed_hash("Read a CSV file", b"k" * 16) == expected
    assert keyed_hash("Read a CSV file", b"j" * 16) != expected


def test_the_key_is_made_once_for_the_owner_alone(own_cache: Path) -> None:
    key = hash_key()
    assert len(key) == 32
    assert hash_key() == key
    assert stat.S_IMODE(own_cache.stat().st_mode) == 0o600
    assert [file.name for file in own_cache.parent.iterdir()] == ["key"]


def test_the_environment_s_key_counts_first(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "0123456789abcdef")
    assert hash_key() == b"0123456789abcdef"
    assert not own_cache.exists()


def test_a_short_key_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "hunter2")
    with pytest.raises(ConfigError, match=r"HYBRID_SEARCH_LOG_KEY has 7 characters; give at least 16") as refused:
        hash_key()
    assert "hunter2" not in str(refused.value)
