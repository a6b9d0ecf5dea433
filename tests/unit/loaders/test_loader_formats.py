import gzip

import pytest

from hybrid_search.errors import DataError
from hybrid_search.loaders.formats import json_objects, read_lines, read_tsv
from hybrid_search.loaders.qrels import read_qrels
from hybrid_search.types import Judgement


def texts(path, reject):
    return [(line.number, line.offset, line.text) for line in read_lines(path, reject)]


def test_endings_byte_order_mark_and_blank_lines_do_not_show(write, rejected):
    path = write("a.txt", b"\xef\xbb\xbfone\r\n\r\n  \t\ntwo\nlast")
    assert texts(path, rejected.append) == [(1, 0, "one"), (4, 14, "two"), (5, 18, "last")]
    assert rejected == []


def test_only_a_line_feed_ends_a_line(write, rejected):
    path = write("a.txt", "one\u2028still\x0bone\x85\ntwo\n")
    assert [text for _, _, text in texts(path, rejected.append)] == ["one\u2028still\x0bone\x85", "two"]


def test_gzip_is_told_by_content_not_by_name(tmp_path, write, rejected):
    packed = tmp_path / "packed.tsv"
    packed.write_bytes(gzip.compress(b"x\n"))
    plain = tmp_path / "plain.tsv.gz"
    plain.write_bytes(b"y\n")
    assert [texts(path, rejected.append)[0][2] for path in (packed, plain)] == ["x", "y"]


def test_an_empty_file_has_no_lines(write, rejected):
    assert texts(write("plain.txt", b""), rejected.append) == []
    assert texts(write("packed.gz", b""), rejected.append) == []


def test_a_line_that_is_not_utf8_is_rejected_and_reading_goes_on(write, rejected):
    path = write("a.txt", b"good\nb\xffd\nalso good\n")
    assert [text for _, _, text in texts(path, rejected.append)] == ["good", "also good"]
    [bad] = rejected
    assert (bad.source, bad.line, bad.field, bad.record) == (str(path), 2, "", "b\\xffd")
    assert bad.reason.startswith("not UTF-8")


@pytest.mark.parametrize("keep", [30, -4], ids=["cut in the stream", "cut in the checksum"])
def test_a_gzip_stream_that_breaks_off_raises(tmp_path, keep):
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress(b"1\tsome text\n" * 500 + bytes(range(255)))[:keep])
    with pytest.raises(DataError, match=r"a\.tsv\.gz: the packed stream breaks off .* fetch the file again"):
        list(read_lines(path, pytest.fail))


def test_a_row_with_another_number_of_columns_is_rejected(write, rejected):
    path = write("a.tsv", "1\tone\n2 two\n3\tthree\tIII\n4\tfour\n")
    assert [cells for _, cells in read_tsv(path, ("pid", "text"), rejected.append)] == [["1", "one"], ["4", "four"]]
    assert [(bad.line, bad.reason) for bad in rejected] == [
        (2, "expected 2 tab-separated columns (pid, text), found 1"),
        (3, "expected 2 tab-separated columns (pid, text), found 3"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[1, 2]", "not a JSON object"),
        ('"text"', "not a JSON object"),
        ('{"score": NaN}', "not JSON"),
        ('{"a": [1e999]}', "not JSON: a number out of range"),
        ('{"text": "\\ud800"}', "no valid Unicode: a lone surrogate"),
        ('{"text": "\\uDC00 half of a pair"}', "no valid Unicode: a lone surrogate"),
        ('{"text": "\\ud800', "not JSON: Input data was truncated"),
        ("[" * 100_000, "not JSON"),
    ],
    ids=[
        "cut off",
        "a list",
        "a string",
        "NaN",
        "too large a number",
        "half a surrogate pair",
        "its other half",
        "cut off in it",
        "too deep",
    ],
)
def test_what_is_no_json_object_is_rejected(write, rejected, text, reason):
    path = write("a.jsonl", f'{text}\n{{"id": "a"}}\n')
    assert [
        (line.number, record) for line, record in json_objects(read_lines(path, rejected.append), rejected.append)
    ] == [(2, {"id": "a"})]
    assert rejected[0].reason.startswith(reason)
    assert "$" not in rejected[0].reason
    assert rejected[0].record == text


@pytest.mark.parametrize(
    "content",
    [
        "q1 0 d1 2\nq1 Q0 d2 0\n",
        "q1\t0\td1\t2\nq1\t0\td2\t0\n",
        "q1\td1\t2\nq1\td2\t0\n",
        "query-id\tcorpus-id\tscore\r\nq1\td1\t2\r\nq1\td2\t0\r\n",
    ],
    ids=["TREC", "TREC with tabs", "three columns", "BEIR"],
)
def test_every_form_of_qrels_reads_the_same(write, rejected, content):
    judgements = list(read_qrels(write("qrels.tsv", content), rejected.append))
    assert judgements == [Judgement("q1", "d1", 2), Judgement("q1", "d2", 0)]
    assert rejected == []


def test_a_tab_separated_id_may_hold_a_blank(write, rejected):
    assert list(read_qrels(write("q.tsv", "a query\ta document\t1\n"), rejected.append)) == [
        Judgement("a query", "a document", 1)
    ]


@pytest.mark.parametrize("grade", ["x", "1.5", "1_0", "²", "99999999999", "1e1", "nan", "--1", "yes"])
def test_a_grade_that_is_no_whole_number_is_rejected(write, rejected, grade):
    assert list(read_qrels(write("q.tsv", f"q\td\t{grade}\nq\te\t-1\n"), rejected.append)) == [Judgement("q", "e", -1)]
    reason = f"not a whole number: {grade!r}"
    assert [(bad.line, bad.field, bad.reason) for bad in rejected] == [(1, "grade", reason)]


@pytest.mark.parametrize(
    ("grade", "meant"),
    [("1", 1), ("+1", 1), ("1.0", 1), ("2.", 2), ("-1.00", -1), ("True", 1), ("false", 0), ('"3"', 3), (" 2 ", 2)],
)
def test_a_grade_that_means_one_whole_number_is_taken(write, grade, meant):
    assert list(read_qrels(write("q.tsv", f"q\td\t{grade}\n"), pytest.fail)) == [Judgement("q", "d", meant)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("q.tsv", '"q1"\t"d1"\t"2"\n'),
        ("q.tsv", "q1\td1\t2\t\n"),
        ("q.tsv", "q1\td1\t2\t\t\n"),
        ("q.tsv", "q1\t0\td1\t2\t\n"),
        ("q.tsv", "qid\titer\tdocno\trel\nq1\t0\td1\t2\n"),
        ("q.tsv", "score\tcorpus-id\tquery-id\n2\td1\tq1\n"),
        ("q.tsv", "query_id\tdoc_id\trelevance\tcomment\nq1\td1\t2\twell put\n"),
        ("q.csv", "query-id,corpus-id,score\nq1,d1,2\n"),
        ("q.csv", '"q1","d1","2"\r\n'),
        ("q.csv.gz", "q1,d1,2\n"),
    ],
    ids=["quotes", "a trailing tab", "two", "TREC and one", "TREC's heading", "any order", "a column more",
         "CSV with a heading", "CSV in quotes", "gzipped CSV"],
)  # fmt: skip
def test_qrels_that_mean_one_thing_are_taken(write, name, content):
    assert list(read_qrels(write(name, content), pytest.fail)) == [Judgement("q1", "d1", 2)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("q\t0\td\t2\tx\n", "found 5; leave the others out, or name the columns in a first line"),
        ("q Q0 d 1 12.5 tag\n", "found 6: these are the columns of a run"),
        ("q\t0\t5\t\n", "not a whole number: ''"),
        ("query-id\tcorpus-id\tscore\nq\td\n", "the heading names 3 columns, found 2"),
    ],
    ids=["five columns", "a run", "TREC's grade is missing", "a cell is missing"],
)
def test_qrels_that_could_mean_something_else_are_explained(write, rejected, content, reason):
    assert list(read_qrels(write("q.tsv", content), rejected.append)) == []
    assert reason in rejected[0].reason


def test_qrels_with_blank_ids_or_other_columns_are_rejected(write, rejected):
    assert list(read_qrels(write("q.tsv", "\td\t1\nq\t\t1\nq d\n"), rejected.append)) == []
    assert [(bad.line, bad.field) for bad in rejected] == [(1, "query"), (2, "document"), (3, "")]
