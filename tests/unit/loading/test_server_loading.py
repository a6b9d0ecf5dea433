"""When a load commits, and how it is cut into batches."""

from __future__ import annotations

import pytest

from hybrid_search.errors import UsageError
from hybrid_search.loading.into_server import ServerLoad, batches_of, is_commit_due
from hybrid_search.loading.journal import Digest
from hybrid_search.types import Document


@pytest.mark.parametrize(
    ("acknowledged", "committed", "due"),
    [
        (3_999, 0, False),
        (4_000, 0, True),
        (35_000, 32_000, False),
        (36_000, 32_000, True),
        (1_100_000, 1_000_000, False),
        (1_125_000, 1_000_000, True),
    ],
)
def test_commits_become_rarer_as_the_index_grows(acknowledged: int, committed: int, due: bool) -> None:
    assert is_commit_due(acknowledged, committed) is due


def test_a_batch_knows_how_far_the_data_set_was_read_with_it_and_the_digest_until_there() -> None:
    documents = [Document(str(number), "x" * 3_000_000) for number in range(5)]
    batches = list(batches_of(documents, 100, Digest()))
    # Of three million characters two fit into eight mebibytes.
    assert [(len(batch.documents), batch.until) for batch in batches] == [(2, 102), (2, 104), (1, 105)]
    digest = Digest()
    for document in documents:
        digest.add(document)
    assert batches[-1].digest == digest.value
    assert len({batch.digest for batch in batches}) == 3


@pytest.mark.parametrize("wrong", [{"connections": 0}, {"connections": 65}, {"force_merge": -1}])
def test_options_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is {next(iter(wrong.values()))}"):
        ServerLoad(**wrong)
