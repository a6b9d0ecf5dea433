"""What a query log holds, and that neither searching nor ending ever waits for it."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from loopback import DROP, loopback

from hybrid_search.engines.opensearch.index import side_index as companion_index
from hybrid_search.engines.opensearch.index.side_index import BackgroundWriter, CompanionIndex
from hybrid_search.engines.opensearch.search.explanation import LegsOfHit, LegsOfPage
from hybrid_search.engines.opensearch.search.query_log import Moment, Source, entries_of
from hybrid_search.engines.opensearch.transport.connection import Connection
from hybrid_search.engines.opensearch.transport.connection_settings import connected
from hybrid_search.errors import ConfigError, SearchIndexError
from hybrid_search.search import Search
from hybrid_search.settings.index import Fusion
from hybrid_search.settings.server import SearchOptions
from hybrid_search.types import Hit, Ranking

MOMENT = Moment(datetime(2026, 11, 21, 18, 0, 0, 123_000, tzinfo=UTC), 17, 0.0254321)
SOURCE = Source("passages-000002", "abc")
TAKEN = (200, {"errors": False, "items": []})
THERE = (200, {})


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companion_index, "_LINGER", 0.01)


def ranking(letters: str) -> Ranking:
    return Ranking(tuple(letters), tuple(float(len(letters) - place) for place in range(len(letters))))


def page(bm25: str, knn: str, fusion: Fusion, shown: str) -> list[Hit]:
    told = LegsOfPage([lambda: ranking(bm25), lambda: ranking(knn)], fusion, list(shown))
    return [Hit(id, rank, 1.0, legs=LegsOfHit(told, id)) for rank, id in enumerate(shown, 1)]


def searched(queries: list[str], hits: list[list[Hit]], **asked: Any) -> tuple[Search, list[list[Hit]]]:
    return Search.of(queries, **{"k": 5, "fusion": Fusion(weights=(0.3, 0.7)), **asked}), hits


def test_an_entry_says_when_what_and_how_fast() -> None:
    [entry] = entries_of(*searched(["read a  csv file"], [page("ab", "ba", Fusion(), "ab")]), SOURCE, MOMENT)
    expected = {
        "time": "2026-11-21T18:00:00.123+00:00",
        "index": "passages-000002",
        "fingerprint": "abc",
        "mode": "hybrid",
        "fusion": "min_max arithmetic",
        "bm25_weight": 0.3,
        "k": 5,
        "offset": 0,
        "filtered": False,
        "batch": 1,
        "took_ms": 17,
        "client_ms": 25.432,
        "text": "read a  csv file",
        "words": 4,
        "hits": 2,
        "zero_results": False,
    }
    assert {name: entry[name] for name in expected} == expected


def test_overlaps_are_of_the_first_ten_whatever_the_page() -> None:
    """BM25 has a to l, k-NN has i to t: the first tens share i and j."""
    hits = page("abcdefghijkl", "ijklmnopqrst", Fusion(weights=(1.0, 0.0)), "ab")
    [entry] = entries_of(*searched(["q"], [hits]), SOURCE, MOMENT)
    assert (entry["bm25_hits"], entry["knn_hits"]) == (12, 12)
    assert entry["overlap_bm25_knn"] == 2
    # With weights (1, 0) the fused order is BM25's.
    assert entry["overlap_bm25_hybrid"] == 10
    assert entry["overlap_knn_hybrid"] == 2
    assert entry["top_bm25"] == list("abcdefghij")
    assert entry["top_knn"] == list("ijklmnopqr")
    assert entry["top_hybrid"] == list("abcdefghij")


def test_without_hits_there_is_no_overlap_to_average() -> None:
    [entry] = entries_of(*searched(["zzz"], [[]]), SOURCE, MOMENT)
    assert entry["zero_results"] is True
    assert not [name for name in entry if name.startswith(("overlap", "top", "bm25_hits"))]


def test_a_page_behind_the_last_hit_is_no_query_without_results() -> None:
    [entry] = entries_of(*searched(["cat"], [[]], offset=50), SOURCE, MOMENT)
    assert (entry["hits"], entry["zero_results"]) == (0, False)


def test_one_leg_alone_has_neither_fusion_nor_overlap() -> None:
    [entry] = entries_of(*searched(["cat"], [[Hit("a", 1, 2.0)]], mode="bm25", fusion=None), SOURCE, MOMENT)
    assert not {"fusion", "bm25_weight", "overlap_bm25_knn"} & entry.keys()


def test_a_hashed_entry_has_neither_the_text_nor_what_it_found() -> None:
    [entry] = entries_of(*searched(["secret plan"], [page("ab", "ba", Fusion(), "ab")]), SOURCE, MOMENT, b"k" * 16)
    assert not {"text", "top_bm25", "top_knn", "top_hybrid"} & entry.keys()
    assert len(entry["text_hash"]) == 32
    assert entry["overlap_bm25_knn"] == 2


def test_blank_queries_are_left_out_and_long_ones_cut() -> None:
    entries = list(entries_of(*searched(["", "x" * 5_000], [[], []]), SOURCE, MOMENT))
    assert [len(entry["text"]) for entry in entries] == [1_000]
    assert entries[0]["batch"] == 2


def writer(address: Any) -> BackgroundWriter:
    with connected(Connection()):
        return BackgroundWriter(CompanionIndex(address.at("passages"), "queries", patient=False))


def test_entries_are_written_in_one_request_to_the_index_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(companion_index, "_LINGER", 0.5)
    with loopback(THERE, TAKEN) as server:
        log = writer(server.address)
        for number in range(3):
            log.put(lambda number=number: [{"k": number}])
        log.close()
    assert [(one.method, one.path) for one in server.asked] == [
        ("HEAD", "/passages-queries"),
        ("POST", "/passages-queries/_bulk"),
    ]
    assert server.asked[1].body == b'{"create":{}}\n{"k":0}\n{"create":{}}\n{"k":1}\n{"create":{}}\n{"k":2}\n'


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (((403, {"error": {"type": "security_exception", "reason": "no permissions"}}),), "give the user the rights"),
        ((THERE, (429, {"error": {"type": "rejected", "reason": "queue is full"}})), "queue is full"),
        (
            (THERE, (200, {"errors": True, "items": [{"create": {"status": 400, "error": {"reason": "bad date"}}}]})),
            "bad",
        ),
        (((DROP, None),), "closed the connection"),
    ],
)
def test_what_can_t_be_written_is_said_once_and_raised_never(answers, why, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), loopback(*answers, always=answers[-1]) as server:
        log = writer(server.address)
        for _ in range(2):
            log.put(lambda: [{"k": 1}])
            time.sleep(0.1)
        log.close()
    [said] = [record.getMessage() for record in caplog.records if record.name == companion_index.__name__]
    assert said.startswith("passages-queries is not written, searching goes on without it")
    assert why in said


def test_an_entry_that_can_t_be_made_is_said_too(caplog: pytest.LogCaptureFixture) -> None:
    with loopback() as server:
        log = writer(server.address)
        log.put(lambda: [{}[0]])
        log.close()
    assert "KeyError" in caplog.text


def test_putting_never_waits_and_ending_waits_no_longer_than_it_says(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(companion_index, "_WAITING", 4)
    with loopback() as server:
        log = writer(server.address)
        started = time.perf_counter()
        log.put(lambda: time.sleep(1.0) or [])
        for _ in range(50):
            log.put(list)
        assert time.perf_counter() - started < 0.2
        log.close(patience=0.1)
        assert time.perf_counter() - started < 0.5
        assert "more entries come than the server takes" in caplog.text
        log.close(patience=5)


def test_an_index_that_is_written_at_once_raises_what_is_refused() -> None:
    refused = {"errors": True, "items": [{"create": {"status": 400, "error": {"type": "x", "reason": "bad date"}}}]}
    with loopback(THERE, (200, refused)) as server, connected(Connection()):
        index = CompanionIndex(server.address.at("passages"), "evaluations")
        with pytest.raises(SearchIndexError, match="passages-evaluations: x: bad date"):
            index.write([{"k": 1}], visible=True)
        index.close()


def test_a_missing_index_is_made_with_its_mapping_before_anything_is_written() -> None:
    with loopback((404, ""), (200, {"acknowledged": True}), TAKEN) as server, connected(Connection()):
        index = CompanionIndex(server.address.at("passages"), "queries")
        index.write([{"k": 1}])
        index.close()
    assert [one.method for one in server.asked] == ["HEAD", "PUT", "POST"]
    assert b'"dynamic":"strict"' in server.asked[1].body


def test_a_misspelt_kind_of_log_is_refused_since_it_might_have_meant_hashes() -> None:
    with pytest.raises(ConfigError, match="log_queries is 'hashed'; it must be text, hash, or empty"):
        SearchOptions(log_queries="hashed")  # type: ignore[arg-type]


def test_no_folder_is_touched_by_a_log_of_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path))
    assert list(entries_of(*searched(["q"], [[]]), SOURCE, MOMENT))
    assert not list(tmp_path.iterdir())
