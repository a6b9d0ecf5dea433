"""Whatever stands in a file: each record is taken, or refused with a reason, and what comes behind it is read."""

import bz2
import csv
import gzip
import json
import lzma
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_search import loaders
from hybrid_search.errors import DataError
from hybrid_search.loaders import json_scanner
from hybrid_search.loaders.intake import Intake

DOCUMENT = b'{"_id": "last", "text": "a good one"}'
PAGE = {"is_selected": [1, 0], "passage_text": ["a good one", "another"]}
ROW = json.dumps({"query_id": "last", "query": "good?", "passages": PAGE}).encode()
GOOD = {
    "beir": {"corpus.jsonl": DOCUMENT, "queries.jsonl": DOCUMENT, "qrels/test.tsv": b"last\tlast\t1"},
    "jsonl": {"documents.jsonl": DOCUMENT, "queries.jsonl": DOCUMENT, "qrels/test.tsv": b"last\tlast\t1"},
    "msmarco_passage": {
        "collection.tsv": b"last\ta good one",
        "queries.train.tsv": b"last\tgood?",
        "qrels.train.tsv": b"last\t0\tlast\t1",
        "triples.tsv": b"good?\ta good one\tanother",
        "qidpidtriples.tsv": b"last\tlast\tlast",
    },
    "ms_marco": {"train.jsonl": ROW},
}
PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
names = ["id", "_id", "docid", "text", "contents", "title", "metadata", "query", "query_id", "passages", "answers"]
pages = st.fixed_dictionaries(
    {"is_selected": st.lists(json_values, max_size=2), "passage_text": st.lists(json_values, max_size=2)}
) | st.lists(st.dictionaries(st.sampled_from(["is_selected", "passage_text", "url"]), json_values), max_size=2)
objects = st.dictionaries(st.sampled_from(names), json_values)
near_rows = st.fixed_dictionaries({"query_id": json_values, "query": json_values, "passages": pages | json_values})
records = (objects | near_rows | json_values).map(lambda record: json.dumps(record).encode())
cells = st.sampled_from(
    [b"1", b"2", b"a", b"", b" ", b"\0", b"\xff", "é".encode(), b'"', b'"1"', b"+1", b"1.0", b"true"]
)
rows = st.lists(cells, max_size=7).map(b"\t".join)
lines = st.lists(st.one_of(st.binary(max_size=20), records, rows), max_size=8)


@pytest.mark.parametrize("name", GOOD)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_line_can_stop_a_loader_or_hide_the_next_one(name, data):
    with TemporaryDirectory() as folder:
        for file, good in GOOD[name].items():
            ending = data.draw(st.sampled_from(sorted(PACK)))
            path = Path(folder, file + ending)
            path.parent.mkdir(exist_ok=True)
            # The first line tells what kind of file it is, so that is a good one too.
            path.write_bytes(PACK[ending](b"\n".join([good, *data.draw(lines), good])))
        rejections = []
        with loaders.DeadLetter(Path(folder, "dead.jsonl")) as dead:

            def reject(rejection):
                rejections.append(rejection)
                dead(rejection)

            intake = Intake(reject)
            dataset = loaders.open_dataset(name, Path(folder), reject=intake)
            documents = {document.text for document in dataset.documents()}
            split = dataset.splits()[0]
            queries = {query.id for query in dataset.queries(split)}
            judged = {judgement.query_id for judgement in dataset.judgements(split)}
            examples = list(dataset.examples(split))
        assert "a good one" in documents
        assert "last" in queries
        assert "last" in judged
        assert examples or name in ("beir", "jsonl")
        assert dead.count == len(rejections) == intake.count
        assert all(rejection.line > 0 and rejection.reason for rejection in rejections)
        assert all(source.rejected <= source.records for source in intake.sources.values())


@contextmanager
def suppress_broken():
    try:
        yield
    except DataError as error:
        if "the JSON is broken at line" not in str(error):
            raise


array_parts = st.lists(
    st.one_of(records, st.binary(max_size=12), st.sampled_from([b"[", b"]", b",", b"{", b'"', b"\\"])), max_size=6
)


@settings(max_examples=80, deadline=None)
@given(parts=array_parts, separator=st.sampled_from([b",", b" , \n", b""]), end=st.sampled_from([b"]", b"", b"] x"]))
def test_an_array_gives_its_objects_or_says_where_it_is_broken(parts, separator, end):
    with TemporaryDirectory() as folder:
        path = Path(folder, "documents.json")
        path.write_bytes(b'[{"id": "first", "text": "a good one"}' + b"".join(separator + part for part in parts) + end)
        rejections = []
        documents = loaders.open_dataset("jsonl", path, reject=rejections.append).documents()
        assert next(documents).text == "a good one"
        with suppress_broken():
            list(documents)
        assert all(rejection.line > 0 and rejection.reason for rejection in rejections)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(json_values, min_size=1, max_size=6), indent=st.sampled_from([None, 1]), step=st.integers(1, 9))
def test_an_array_is_cut_where_a_json_reader_cuts_it_however_it_is_buffered(values, indent, step):
    text = json.dumps(values, indent=indent, ensure_ascii=False).encode(errors="surrogatepass")
    whole, json_scanner._STEP = json_scanner._STEP, step
    try:
        scanner = json_scanner.Scanner(BytesIO(text))
        scanner.take(b"[")
        found = []
        for _ in values:
            found.append(json.loads(scanner.value().decode(errors="surrogatepass")))
            scanner.take(b",]")
    finally:
        json_scanner._STEP = whole
    assert repr(found) == repr(json.loads(text.decode(errors="surrogatepass")))


csv_cells = st.text(alphabet='ab",;\n\r\t é\0', max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    cells=st.lists(st.tuples(csv_cells, csv_cells), max_size=6), noise=st.lists(st.text(alphabet='a",\n', max_size=8))
)
def test_no_row_of_csv_stops_the_reading_and_what_csv_writes_is_read_as_it_was(cells, noise):
    out = StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["id", "text", "note"])
    for number, (text, note) in enumerate(cells):
        writer.writerow([str(number), "x" + text, note])
    with TemporaryDirectory() as folder:
        path = Path(folder, "documents.csv")
        path.write_text(out.getvalue(), newline="")
        rejections = []
        found = list(loaders.open_dataset("jsonl", path, reject=rejections.append).documents()) if cells else []
        assert rejections == []
        # A carriage return before a line's end is taken for a part of it.
        expected = [("x" + text, note) for text, note in cells]
        same = [(document.text, document.metadata.get("note", "")) for document in found]
        assert [tuple(map(_bare, pair)) for pair in same] == [tuple(map(_bare, pair)) for pair in expected]
        path.write_text(out.getvalue() + "\n".join(noise), newline="")
        if cells:
            list(loaders.open_dataset("jsonl", path, reject=rejections.append).documents())
        assert all(rejection.line > 1 and rejection.reason for rejection in rejections)


def _bare(text):
    return text.replace("\r\n", "\n").rstrip("\r")
