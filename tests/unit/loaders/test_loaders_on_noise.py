import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import loaders

FILES = {
    "beir": ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"),
    "jsonl": ("documents.jsonl", "queries.jsonl", "qrels/test.tsv"),
    "msmarco_passage": ("collection.tsv", "queries.train.tsv", "qrels.train.tsv", "triples.tsv", "qidpidtriples.tsv"),
    "ms_marco": ("train.jsonl",),
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
records = st.dictionaries(
    st.sampled_from(["id", "_id", "text", "title", "metadata", "query", "query_id", "passages", "answers"]), json_values
).map(lambda record: json.dumps(record).encode())
rows = st.lists(st.sampled_from([b"1", b"2", b"a", b"", b" ", b"\0", b"\xff", "é".encode()]), max_size=5).map(
    b"\t".join
)
lines = st.lists(st.one_of(st.binary(max_size=20), records, rows), max_size=8)


def read_everything(dataset):
    count = sum(1 for _ in dataset.documents())
    for split in dataset.splits():
        for stream in (dataset.queries, dataset.judgements, dataset.examples):
            count += sum(1 for _ in stream(split))
    return count


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_no_line_can_stop_a_loader(name, data):
    with TemporaryDirectory() as folder:
        for file in FILES[name]:
            path = Path(folder, file)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(gzip.compress(b"\n".join(data.draw(lines))))
        rejections = []
        with loaders.DeadLetter(Path(folder, "dead.jsonl")) as dead:

            def reject(rejection):
                rejections.append(rejection)
                dead(rejection)

            read_everything(loaders.open_dataset(name, Path(folder), reject=reject))
        assert dead.count == len(rejections)
        assert all(rejection.line > 0 and rejection.reason for rejection in rejections)
