"""``hybrid-search example`` writes a data set in the form that the loader jsonl takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from hybrid_search.cli import cli
from hybrid_search.errors import UsageError
from hybrid_search.loaders.registry import open_dataset


def test_the_example_is_a_judged_data_set_whose_answers_are_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "my-data"
    made = CliRunner().invoke(cli, ["example", str(folder)], catch_exceptions=False)
    assert made.exit_code == 0
    assert made.stderr.endswith(f"Next: hybrid-search load jsonl --path {folder} --to ./index\n")
    data = open_dataset("jsonl", folder, reject=pytest.fail)
    ids = {document.id for document in data.documents()}
    assert len(ids) == 300
    assert data.splits() == ("train", "dev", "test")
    seen: set[str] = set()
    for split, number in (("train", 120), ("dev", 30), ("test", 60)):
        queries = {query.id for query in data.queries(split)}
        assert len(queries) == number
        assert not queries & seen
        seen |= queries
        judged = list(data.judgements(split))
        assert {one.query_id for one in judged} == queries
        assert {one.document_id for one in judged} <= ids
    with pytest.raises(UsageError, match="is there and not empty"):
        CliRunner().invoke(cli, ["example", str(folder)], catch_exceptions=False)
