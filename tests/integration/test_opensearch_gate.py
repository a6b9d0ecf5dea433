"""The gate before an alias moves, on a real server: far fewer documents, a staged index, worse results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aliased import DOCUMENTS, clear, loaded
from click.testing import CliRunner
from node.server import Server

from hybrid_search.cli import cli
from hybrid_search.engines.opensearch.index.aliases import live_index
from hybrid_search.engines.opensearch.transport.client import Client
from hybrid_search.errors import IndexNotFound, SearchIndexError
from hybrid_search.indexes import roll_back
from hybrid_search.loading.blue_green import go_live, load_behind_alias
from hybrid_search.loading.gate import Gate
from hybrid_search.loading.sources import Corpus
from hybrid_search.location import Address
from hybrid_search.opening import open_retriever
from hybrid_search.types import Document

pytestmark = pytest.mark.opensearch

ALIAS = "gated"


@pytest.fixture
def address(opensearch_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path / "cache"))
    address = Address.parse(f"{opensearch_server.location}/{ALIAS}")
    clear(address)
    yield address
    clear(address)


@pytest.fixture
def client(address: Address) -> Iterator[Client]:
    with closing(Client(address)) as client:
        yield client


def test_an_index_of_far_fewer_documents_does_not_go_live_unless_that_is_wanted(
    address: Address, client: Client
) -> None:
    first = loaded(address, None)
    with pytest.raises(SearchIndexError, match=r"100, 120 in gated-000001: 20 fewer, more than a tenth"):
        loaded(address, None, DOCUMENTS[:100], gate=None)
    assert live_index(client, ALIAS) == first.index
    again = load_behind_alias(Corpus("made", lambda: iter(DOCUMENTS[:100])), address, gate=Gate(may_be_smaller=True))
    assert (again.replaced, live_index(client, ALIAS)) == (first.index, again.index)
    assert again.load.unchanged == 100  # it went on in the index that was refused


def test_a_staged_index_can_be_tried_and_goes_live_when_it_is_told_to(address: Address, client: Client) -> None:
    first = loaded(address, None)
    with pytest.raises(IndexNotFound, match="nothing is staged"):
        go_live(address)
    more = [*DOCUMENTS, Document("new", "a zeppelin lands")]
    staged = load_behind_alias(Corpus("more", lambda: iter(more)), address, gate=Gate(stage=True))
    assert (staged.is_staged, live_index(client, ALIAS)) == (True, first.index)
    with open_retriever(str(address.at(staged.index))) as retriever:
        assert [hit.id for hit in retriever.search("zeppelin", 3, mode="bm25")] == ["new"]
    assert go_live(address) == {"alias": ALIAS, "index": staged.index, "replaced": first.index, "deployed": False}
    assert live_index(client, ALIAS) == staged.index
    assert roll_back(address).index == first.index


def test_the_command_line_gates_stages_and_swaps(address: Address, client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    texts = [f"word{number} and more" for number in range(12)]

    def write(texts: Sequence[str]) -> None:
        lines = (json.dumps({"id": f"d{number}", "text": text}) for number, text in enumerate(texts))
        (folder / "documents.jsonl").write_text("\n".join(lines) + "\n")

    (folder / "queries.jsonl").write_text("".join(f'{{"id": "q{n}", "text": "word{n}"}}\n' for n in range(12)))
    (folder / "qrels.test.tsv").write_text("".join(f"q{n}\td{n}\t1\n" for n in range(12)))
    behind = ("load", "jsonl", "--path", str(folder), "--alias", ALIAS, "--to", str(address), "--format", "json")

    def does(*words: str) -> dict[str, Any]:
        done = CliRunner().invoke(cli, list(words), catch_exceptions=False)
        assert done.exit_code == 0, done.output
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    write(texts)
    first = does(*behind, "--lexical-only")["index"]
    write([f"{text} {text}" for text in texts])
    staged = does(*behind, "--lexical-only", "--stage", "--gate", str(folder), "--recreate")
    assert [one["passed"] for one in staged["checks"][-2:]] == [True, True]
    assert (staged["index"], live_index(client, ALIAS)) == (f"{ALIAS}-000002", first)
    assert does("swap", str(address), "--format", "json")["replaced"] == first
    assert live_index(client, ALIAS) == staged["index"]
    write(["nothing"] * 12)
    with pytest.raises(
        SearchIndexError, match=r"quality against the live index: nDCG@10 of bm25 0\.0000, 1\.0000 live"
    ):
        does(*behind, "--lexical-only", "--gate", f"jsonl:{folder}")
    assert live_index(client, ALIAS) == staged["index"]
