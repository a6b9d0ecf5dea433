import pytest

from hybrid_search.errors import DataError
from hybrid_search.training.negatives.file import Header, read_header, read_negatives, write_negatives
from hybrid_search.training.negatives.miner import MinedQuery, Negative

HEADER = Header(source="bm25", index="indexes/x", analyzer="english", rank_window=(5, 100), false_negative_margin=0.95)
QUERIES = [
    MinedQuery("q1", "é?", ("p1",), (Negative("n1", 5, 1.5, "bm25"), Negative("n2", 9, 1.25, "bm25"))),
    MinedQuery("q2", "nothing found", ("p2",), ()),
]


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "out" / "negatives.jsonl"
    assert write_negatives(path, HEADER, iter(QUERIES)) == 2
    assert read_header(path) == HEADER
    assert list(read_negatives(path, pytest.fail)) == QUERIES
    assert [file.name for file in path.parent.iterdir()] == ["negatives.jsonl"]


def test_a_line_has_the_documented_form(tmp_path):
    path = tmp_path / "negatives.jsonl"
    write_negatives(path, HEADER, QUERIES[:1])
    assert path.read_text(encoding="utf-8").splitlines()[1] == (
        '{"query_id":"q1","query":"é?","positives":["p1"],"negatives":['
        '{"id":"n1","rank":5,"score":1.5,"source":"bm25"},{"id":"n2","rank":9,"score":1.25,"source":"bm25"}]}'
    )


def test_a_bad_line_is_named_and_the_rest_is_read(tmp_path):
    path = tmp_path / "negatives.jsonl"
    write_negatives(path, HEADER, QUERIES)
    lines = path.read_bytes().splitlines()
    bad = lines[1].replace(b'"rank":5', b'"rank":"five"')
    path.write_bytes(b"\n".join([lines[0], bad, b"{broken", b"\xff\xfe", lines[2]]) + b"\n")
    rejected = []
    assert list(read_negatives(path, rejected.append)) == QUERIES[1:]
    assert [(r.source, r.line) for r in rejected] == [(str(path), 2), (str(path), 3), (str(path), 4)]
    assert "$.negatives[0].rank" in rejected[0].reason


def test_a_file_without_a_header_is_refused(tmp_path):
    path = tmp_path / "negatives.jsonl"
    path.write_text('{"query_id": "q1"}\n')
    with pytest.raises(DataError, match=r"negatives\.jsonl:1: no header .*hybrid-search mine"):
        list(read_negatives(path, pytest.fail))


def test_a_later_format_is_refused(tmp_path):
    path = tmp_path / "negatives.jsonl"
    write_negatives(path, Header(source="bm25", rank_window=(1, 2), false_negative_margin=0, format_version=2), [])
    with pytest.raises(DataError, match="format version 2"):
        read_header(path)


def test_an_interrupted_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "negatives.jsonl"
    write_negatives(path, HEADER, QUERIES)

    def broken():
        yield QUERIES[0]
        raise RuntimeError("search failed")

    with pytest.raises(RuntimeError, match="search failed"):
        write_negatives(path, HEADER, broken())
    assert list(read_negatives(path, pytest.fail)) == QUERIES
