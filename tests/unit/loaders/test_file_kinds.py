"""Files as people have them: packed, in other encodings, as arrays and tables, from pipes; hostile ones too."""

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import threading
import zipfile

import pytest
import zstd

from hybrid_search.errors import DataError, MissingExtra
from hybrid_search.loaders import lines
from hybrid_search.loaders.beir import open_dataset as open_beir
from hybrid_search.loaders.jsonl import open_dataset
from hybrid_search.loaders.lines import read_lines
from hybrid_search.loaders.msmarco_passage import open_dataset as open_passages
from hybrid_search.types import Document, Judgement

TEXT = '{"id": "1", "text": "Fleas jump."}\n{"id": "2", "text": "Cats sleep: naïve."}\n'
DOCUMENTS = [Document("1", "Fleas jump."), Document("2", "Cats sleep: naïve.")]


def zipped(data, method=zipfile.ZIP_DEFLATED, **more):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in {"documents.jsonl": data, **more}.items():
            archive.writestr(name, content)
    return out.getvalue()


def read(path, reject=pytest.fail):
    return list(open_dataset(path, reject=reject).documents())


PACKED = {
    "gzip": gzip.compress(TEXT.encode()),
    "two gzip streams": gzip.compress(TEXT.encode()[:20]) + gzip.compress(TEXT.encode()[20:]),
    "bzip2": bz2.compress(TEXT.encode()),
    "xz": lzma.compress(TEXT.encode()),
    "two xz streams": lzma.compress(TEXT.encode()[:20]) + bytes(8) + lzma.compress(TEXT.encode()[20:]),
    "zstd": zstd.compress(TEXT.encode()),
    "two zstd frames": zstd.compress(TEXT.encode()[:20]) + zstd.compress(TEXT.encode()[20:]),
    "zip": zipped(TEXT),
    "a zip that stores": zipped(TEXT, zipfile.ZIP_STORED),
    "a Mac's zip": zipped(TEXT, **{"__MACOSX/._documents.jsonl": b"\0\1"}),
    "gzip in a zip": zipped(gzip.compress(TEXT.encode())),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "UTF-32": TEXT.encode("utf-32"),
    "gzipped UTF-16": gzip.compress(TEXT.encode("utf-16")),
    "Windows' line endings": TEXT.replace("\n", "\r\n").encode(),
    "an array": json.dumps([json.loads(line) for line in TEXT.splitlines()]).encode(),
    "an indented array": b"\xef\xbb\xbf \n" + json.dumps([json.loads(t) for t in TEXT.splitlines()], indent=2).encode(),
    "a packed array": bz2.compress(json.dumps([json.loads(line) for line in TEXT.splitlines()]).encode()),
    "an array in UTF-16": json.dumps([json.loads(line) for line in TEXT.splitlines()]).encode("utf-16"),
}


@pytest.mark.parametrize("kind", PACKED)
def test_documents_are_read_from_a_file_of_this_kind_whatever_its_name(write, tmp_path, kind):
    path = tmp_path / "mine"
    path.write_bytes(PACKED[kind])
    assert read(path) == DOCUMENTS


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst", ".zip"])
def test_a_folders_files_may_be_packed(tmp_path, ending):
    pack = {
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
        ".zst": zstd.compress,
        ".zip": zipped,
    }
    (tmp_path / "qrels").mkdir()
    for name, content in {"documents.jsonl": TEXT, "queries.jsonl": TEXT, "qrels/test.tsv": "1\t2\t1\n"}.items():
        (tmp_path / (name + ending)).write_bytes(pack[ending](content.encode()))
    dataset = open_dataset(tmp_path, reject=pytest.fail)
    assert list(dataset.documents()) == DOCUMENTS
    assert list(dataset.judgements("test")) == [Judgement("1", "2", 1)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (zipped(TEXT, **{"more.jsonl": TEXT}), "is a zip archive of 2 files; unpack it and give the folder"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(40), "is a 7z archive, which is not read here; unpack it"),
        (b"%PDF-1.7 ...", "is a PDF, which is not read here; extract its text into JSON lines"),
        (b"SQLite format 3\0" + bytes(40), "is an SQLite database"),
    ],
    ids=["zip", "7z", "pdf", "sqlite"],  # a zip holds the time, and workers of pytest-xdist must name tests alike
)
def test_what_is_not_read_is_named_with_its_file_and_what_to_do(tmp_path, content, told):
    path = tmp_path / "documents.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"documents.jsonl {told}"):
        read(path)


def test_a_tar_archive_is_named_however_it_is_packed(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("documents.jsonl")
        info.size = len(TEXT.encode())
        archive.addfile(info, io.BytesIO(TEXT.encode()))
    path = tmp_path / "documents.tar.gz"
    path.write_bytes(out.getvalue())
    with pytest.raises(DataError, match="is a tar archive, which is not read here; unpack it"):
        read(path)


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz", "zstd"])
@pytest.mark.parametrize("fault", ["cut off", "damaged"])
def test_a_packed_file_that_is_damaged_is_an_error_and_not_a_short_file(tmp_path, kind, fault):
    text = "".join(f'{{"id": "{number}", "text": "{os.urandom(8).hex()}"}}\n' for number in range(5_000))
    pack = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd.compress}
    whole = pack[kind](text.encode())
    half = len(whole) // 2
    path = tmp_path / "documents.jsonl"
    path.write_bytes(whole[:half] if fault == "cut off" else whole[:half] + bytes(64) + whole[half + 64 :])
    with pytest.raises(DataError, match=r"documents.jsonl: the packed stream breaks off or is damaged after line \d+"):
        read(path, reject=lambda rejection: None)


def test_without_the_package_for_zstd_the_extra_is_named(tmp_path, monkeypatch):
    if sys.version_info >= (3, 14):
        pytest.skip("the standard library unpacks zstd")
    (tmp_path / "d.jsonl.zst").write_bytes(PACKED["zstd"])
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtra, match=r"hybrid-search-towers\[zstd\]"):
        read(tmp_path / "d.jsonl.zst")


def test_a_character_that_breaks_off_in_utf_16_is_refused_and_the_lines_before_it_are_read(tmp_path, rejected):
    path = tmp_path / "documents.jsonl"
    path.write_bytes(TEXT.encode("utf-16") + b"{\0x")
    assert read(path, rejected.append) == DOCUMENTS
    assert rejected[0].reason.startswith("not UTF-8 (nor the UTF-16 that its byte order mark tells)")


def test_a_line_without_end_is_refused_and_the_next_is_read(tmp_path, rejected, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST", 1_000)
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n" + b"x" * 10_000 + b"\nthree\n" + b"y" * 999 + b"\n")
    assert [(line.number, line.offset) for line in read_lines(path, rejected.append)] == [
        (1, 0),
        (3, 10_005),
        (4, 10_011),
    ]
    assert [(bad.line, len(bad.record)) for bad in rejected] == [(2, 1_000)]


BOMBS = {
    "gzip": lambda data: gzip.compress(data, 1),
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": zstd.compress,
}
READ_IN_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from hybrid_search.loaders import json_scanner, lines
lines.LONGEST = json_scanner.LONGEST = 4 << 20
from hybrid_search.errors import DataError
from hybrid_search.loaders.jsonl import open_dataset
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(len(list(open_dataset(Path(sys.argv[1]), reject=lambda refused: print(refused.reason)).documents())))
except DataError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.parametrize("kind", BOMBS)
def test_a_file_that_unpacks_to_more_than_memory_holds_does_not_take_it(tmp_path, kind):
    path = tmp_path / "documents.jsonl"
    good = BOMBS[kind](TEXT.encode())
    path.write_bytes(
        good + BOMBS[kind](bytes(16 << 20)) * 16 + BOMBS[kind](b"\n" + TEXT.encode().replace(b"Cats", b"No"))
    )
    said = run_in_little_memory(path)
    # The same id with another text behind the bomb is refused, which shows that it was reached.
    assert said[:-1] == ["64 MiB or longer; the record shows its beginning", OTHER, "2"]
    assert int(said[-1]) < 64


def test_an_element_that_unpacks_to_more_than_memory_holds_does_not_take_it(tmp_path):
    path = tmp_path / "documents.json"
    begin, end = b'[{"id": "1", "text": "a"}, {"id": "2", "text": "', b'"}, {"id": "3", "text": "c"}]'
    path.write_bytes(gzip.compress(begin) + gzip.compress(b"x" * (16 << 20), 1) * 8 + gzip.compress(end))
    said = run_in_little_memory(path)
    assert said[:-1] == ["4 MiB or longer", "2"]
    assert int(said[-1]) < 64


OTHER = "the id was seen before with other content; the first record stays"


def run_in_little_memory(path):
    done = subprocess.run([sys.executable, "-c", READ_IN_LITTLE_MEMORY, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_csv_has_metadata_in_its_further_columns(write):
    path = write("mine.csv", '\ufeffid;title;text;lang\r\n1;Fleas;"They; jump.\r\n\r\nFar.";en\r\n2;;Cats sleep.;\r\n')
    assert read(path) == [
        Document("1", "They; jump.\n\nFar.", "Fleas", {"lang": "en"}),
        Document("2", "Cats sleep."),
    ]


def test_bad_rows_of_csv_are_named_and_the_rest_is_read(write, rejected):
    path = write("mine.csv", 'id,text\n1,one\n2\n3,"thr"ee\n4,four,4\n5,five\n6,"not closed\n')
    assert [document.id for document in read(path, rejected.append)] == ["1", "5"]
    assert [(bad.line, bad.reason) for bad in rejected] == [
        (3, "the heading names 2 columns, found 1"),
        (4, "not CSV: ',' expected after '\"'"),
        (5, "the heading names 2 columns, found 3"),
        (7, "not CSV: unexpected end of data"),
    ]


def test_csv_without_a_heading_is_refused(write):
    with pytest.raises(DataError, match="the first line must name the columns, each once; it is '1,,one'"):
        read(write("mine.csv", "1,,one\n"))


def test_a_text_above_csvs_own_limit_is_read(write):
    assert len(read(write("mine.csv", f'id,text\n1,"{"x" * 200_000}"\n'))[0].text) == 200_000


def test_parquet_is_read_row_by_row(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table(
        {"id": ["1", "2", None], "text": ["Fleas jump.", "Cats sleep.", "x"], "metadata": [{"n": 1}, {"n": 2}, None]}
    )
    parquet.write_table(table, tmp_path / "documents.parquet")
    rejected = []
    found = list(open_dataset(tmp_path, reject=rejected.append).documents())
    assert found == [Document("1", "Fleas jump.", "", {"n": 1}), Document("2", "Cats sleep.", "", {"n": 2})]
    assert [(bad.line, bad.field) for bad in rejected] == [(3, "id")]


def test_parquet_where_lines_are_wanted_is_named(tmp_path):
    (tmp_path / "collection.tsv").write_bytes(b"PAR1 and so on")
    with pytest.raises(DataError, match=r"collection\.tsv is a parquet file"):
        list(open_passages(tmp_path, reject=pytest.fail).documents())


def test_a_broken_array_says_where_and_keeps_what_is_before(write):
    documents = open_dataset(write("d.json", f'[{TEXT.splitlines()[0]},\n{{"id": "3" '), reject=pytest.fail).documents()
    assert next(documents) == DOCUMENTS[0]
    with pytest.raises(DataError, match=r"d\.json: the JSON is broken at line 2: it breaks off"):
        next(documents)


def test_an_elements_line_is_the_one_where_it_begins(write, rejected):
    path = write("d.json", '[\n {"id": "1",\n  "text": "a"},\n 7,\n\n {"id": "2"}\n]\n')
    assert [document.id for document in read(path, rejected.append)] == ["1"]
    assert [(bad.line, bad.reason) for bad in rejected] == [
        (4, "not a JSON object"),
        (6, "blank, and so is the title"),
    ]


def test_pyserinis_names_are_known(write):
    path = write(
        "mine.jsonl", '{"id": "1", "contents": "Fleas jump."}\n{"docid": 2, "contents": "Cats sleep: naïve."}\n'
    )
    assert read(path) == DOCUMENTS
    assert [one.id for one in open_beir_corpus(path).documents()] == ["1", "2"]


def open_beir_corpus(path):
    folder = path.parent / "beir"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_bytes(path.read_bytes())
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "x"}\n')
    (folder / "qrels" / "test.csv").write_text("query-id,corpus-id,score\nq,1,1\n")
    dataset = open_beir(folder, reject=pytest.fail)
    assert list(dataset.judgements("test")) == [Judgement("q", "1", 1)]
    return dataset


def test_both_names_of_a_text_are_not_merged_in_silence(write, rejected):
    path = write("mine.jsonl", '{"id": "1", "text": "a", "contents": "b"}\n{"id": "2", "docid": "3", "text": "c"}\n')
    assert read(path, rejected.append) == []
    assert [(bad.line, bad.field) for bad in rejected] == [(1, "contents"), (2, "docid")]


def test_a_heading_in_a_collection_and_in_queries_is_no_record(write, tmp_path):
    write("collection.tsv", "pid\tpassage\n11\tFleas jump.\n")
    write("queries.dev.tsv", "qid\tquery\n1\tdo fleas jump\n")
    dataset = open_passages(tmp_path, reject=pytest.fail)
    assert [document.id for document in dataset.documents()] == ["11"]
    assert [query.id for query in dataset.queries("dev")] == ["1"]


@pytest.mark.parametrize("content", [b"", b"\n \n", gzip.compress(b"", mtime=0), b"[]", b"\xef\xbb\xbf"], ids=repr)
def test_an_empty_file_is_an_error(tmp_path, content):
    (tmp_path / "documents.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=r"documents\.jsonl is empty: there are no documents in it"):
        read(tmp_path / "documents.jsonl")


def test_a_csv_of_a_heading_alone_is_empty(write):
    with pytest.raises(DataError, match=r"mine\.csv is empty"):
        read(write("mine.csv", "id,text\n"))


def test_an_empty_collection_is_an_error(write, tmp_path):
    write("collection.tsv", "pid\ttext\n")
    with pytest.raises(DataError, match=r"collection\.tsv is empty"):
        list(open_passages(tmp_path, reject=pytest.fail).documents())


@pytest.mark.parametrize("kind", ["UTF-8 with a mark", "gzip", "xz", "zstd", "an array"])
def test_a_pipe_is_read_once(tmp_path, kind):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(PACKED[kind],))
    writer.start()
    dataset = open_dataset(pipe, reject=pytest.fail)
    assert list(dataset.documents()) == DOCUMENTS
    writer.join()
    with pytest.raises(DataError, match="pipe can be read once only"):
        dataset.documents()


@pytest.mark.parametrize("path", ["-", "/dev/stdin"])
def test_standard_input_is_read(path):
    script = (
        "import sys; from pathlib import Path; from hybrid_search.loaders.jsonl import open_dataset;"
        "print([d.id for d in open_dataset(Path(sys.argv[1]), reject=print).documents()])"
    )
    done = subprocess.run([sys.executable, "-c", script, path], input=PACKED["gzip"], capture_output=True)
    assert done.stdout.decode().strip() == "['1', '2']", done.stderr


def test_a_zip_from_a_pipe_is_refused_with_a_reason(tmp_path):
    script = (
        "import sys; from pathlib import Path; from hybrid_search.loaders.jsonl import open_dataset\n"
        "try: list(open_dataset(Path('-'), reject=print).documents())\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", script], input=PACKED["zip"], capture_output=True)
    assert done.stdout.decode().startswith("DataError -: a zip archive can't be read from a stream")
