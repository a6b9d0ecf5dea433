import gzip

import pytest

from hybrid_search.errors import DataError
from hybrid_search.types import Judgement
from loaders.formats import read_json_lines, read_lines, read_qrels, read_tsv


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
    with pytest.raises(DataError, match=r"a\.tsv\.gz: the gzip stream breaks off .* fetch the file again"):
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
        ('{"text": "\\ud800"}', "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
    ids=["cut off", "a list", "a string", "NaN", "half a surrogate pair", "too deep"],
)
def test_what_is_no_json_object_is_rejected(write, rejected, text, reason):
    path = write("a.jsonl", f'{text}\n{{"id": "a"}}\n')
    assert [(line.number, record) for line, record in read_json_lines(path, rejected.append)] == [(2, {"id": "a"})]
    assert rejected[0].reason.startswith(reason)
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


@pytest.mark.parametrize("grade", ["x", "1.0", "", "1_0", "²", "99999999999"])
def test_a_grade_that_is_no_integer_is_rejected(write, rejected, grade):
    assert list(read_qrels(write("q.tsv", f"q\td\t{grade}\nq\te\t-1\n"), rejected.append)) == [Judgement("q", "e", -1)]
    assert [(bad.line, bad.field, bad.reason) for bad in rejected] == [(1, "grade", "not an integer")]


def test_qrels_with_blank_ids_or_other_columns_are_rejected(write, rejected):
    assert list(read_qrels(write("q.tsv", "\td\t1\nq\t\t1\nq d\n"), rejected.append)) == []
    assert [(bad.line, bad.field) for bad in rejected] == [(1, "query"), (2, "document"), (3, "")]
