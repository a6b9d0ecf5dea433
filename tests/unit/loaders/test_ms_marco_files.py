"""MS MARCO's question-answering rows as they are published: lists of passages, columns, shards, marks of every form."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_search.errors import DataError, DatasetNotFound, UsageError
from hybrid_search.loaders.ms_marco import open_dataset
from hybrid_search.loaders.records import FieldError
from hybrid_search.loaders.result_page import parse_row
from hybrid_search.types import Document, Judgement, text_hash

FLEAS, CATS, DOGS = "Fleas jump.", "Cats sleep.", "Dogs bark."


def passage(text, mark, **more):
    return {"is_selected": mark, "passage_text": text, "url": "u", **more}


def official(id, query, *passages, **more):
    return {
        "query_id": id,
        "query": query,
        "passages": list(passages),
        "answers": ["They do."],
        "query_type": "x",
        **more,
    }


ROWS = (
    official(9, "do fleas jump", passage(CATS, 0), passage(FLEAS, 1)),
    official(4, "do cats sleep", passage(CATS, 1), passage(DOGS, 0), wellFormedAnswers="[]"),
    official(7, "why", passage(DOGS, 0), passage(FLEAS, 0)),
)


def by_columns(rows, **changes):
    """Write rows as v2.1 is published: an object of columns, each an object of row -> value."""
    names = sorted({name for row in rows for name in row})
    columns = {name: {str(n): row[name] for n, row in enumerate(rows) if name in row} for name in names}
    return json.dumps({**columns, **changes})


def read(path, split="train", **how):
    dataset = open_dataset(path, reject=how.pop("reject", pytest.fail), **how)
    queries = [(query.id, query.text) for query in dataset.queries(split)]
    examples = [(one.query.id, one.positive.text, [n.text for n in one.negatives]) for one in dataset.examples(split)]
    return queries, examples


EXPECTED = (
    [("9", "do fleas jump"), ("4", "do cats sleep"), ("7", "why")],
    [("9", FLEAS, [CATS]), ("4", CATS, [DOGS])],
)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["", "gz"])
@pytest.mark.parametrize("form", ["lines", "an array", "columns", "indented columns", "columns in UTF-16"])
def test_the_official_files_give_the_same_rows_as_the_hubs(tmp_path, pack, form):
    text = {
        "lines": "".join(json.dumps(row) + "\n" for row in ROWS),
        "an array": json.dumps(ROWS),
        "columns": by_columns(ROWS),
        "indented columns": json.dumps(json.loads(by_columns(ROWS)), indent=1),
        "columns in UTF-16": by_columns(ROWS),
    }[form]
    if form.endswith("UTF-16"):
        (tmp_path / "train_v2.1.json").write_bytes(text.encode("utf-16"))
    else:
        (tmp_path / "train_v2.1.json").write_bytes(pack(text.encode()))
    assert read(tmp_path / "train_v2.1.json") == EXPECTED
    assert read(tmp_path, config="v2.1") == EXPECTED


def test_columns_in_any_order_with_any_keys_are_joined_by_row(write):
    columns = json.loads(by_columns(ROWS))
    keys = {"0": 'x\\"y', "1": "800", "2": "{"}
    renamed = {name: {keys[n]: value for n, value in rows.items()} for name, rows in columns.items()}
    text = json.dumps({name: renamed[name] for name in ("query", "passages", "answers", "query_id", "query_type")})
    assert read(write("train.json", text)) == EXPECTED


def test_columns_of_other_rows_are_an_error_and_not_a_mixture(write):
    columns = json.loads(by_columns(ROWS))
    columns["query"] = dict(reversed(columns["query"].items()))
    with pytest.raises(DataError, match=r"the columns .* don't list the same rows in the same order \(row 1\)"):
        read(write("train.json", json.dumps(columns)))
    del columns["query"]["0"]
    with pytest.raises(DataError, match="don't list the same rows"):
        read(write("train.json", json.dumps(columns)))


def test_a_first_line_that_looks_like_columns_hides_no_row_behind_it(write, rejected):
    lines = ['{"answers": {"x": 1}}', *(json.dumps(row) for row in ROWS)]
    assert read(write("train.jsonl", "\n".join(lines)), reject=rejected.append) == EXPECTED
    assert {bad.line for bad in rejected} == {1}


def test_a_bad_cell_refuses_its_row_alone(write, rejected):
    columns = by_columns(ROWS).replace('"do cats sleep"', "tru")
    queries, _ = read(write("train.json", columns), reject=rejected.append)
    assert [id for id, _ in queries] == ["9", "7"]
    assert [(bad.line, bad.field) for bad in rejected] == [(2, "query")]


def test_a_file_by_columns_that_breaks_off_says_where(write):
    with pytest.raises(DataError, match=r"train\.json: the JSON is broken at line 1: it breaks off"):
        read(write("train.json", by_columns(ROWS)[:-40]))


@pytest.mark.parametrize(
    ("mark", "group"),
    [(1, "selected"), (True, "selected"), (1.0, "selected"), (0, "others"), (False, "others"), (0.0, "others"),
     (-1, "unjudged"), (-1.0, "unjudged"), (None, "unjudged")],
)  # fmt: skip
def test_every_way_to_mark_a_passage_is_read_as_what_it_says(mark, group):
    page = parse_row(official(1, "q", passage(FLEAS, mark)))
    assert [document.text for document in getattr(page, group)] == [FLEAS]
    assert len(page.passages) == 1


@pytest.mark.parametrize("mark", [2, 0.5, -2, 1e300])
def test_another_mark_is_refused(mark):
    with pytest.raises(FieldError, match=r"passages.is_selected\[1\]: expected 1, 0, or -1"):
        parse_row(official(1, "q", passage(FLEAS, 1), passage(CATS, mark)))


def test_without_a_mark_nothing_is_judged():
    page = parse_row(official(1, "q", {"passage_text": FLEAS}))
    assert ([one.text for one in page.unjudged], page.selected, page.others) == ([FLEAS], (), ())


def test_a_null_url_is_none_and_a_null_text_leaves_out_its_passage_alone():
    page = parse_row(official(1, "q", passage(FLEAS, 1, url=None), passage(None, 1), passage(CATS, 0)))
    assert page.selected == (Document(text_hash(FLEAS), FLEAS),)
    assert [one.text for one in page.others] == [CATS]
    assert page.blanks == 1
    columns = {"is_selected": [1, None, 0], "passage_text": [FLEAS, None, CATS], "url": [None, "u", None]}
    page = parse_row({"query_id": 1, "query": "q", "passages": columns, "answers": None})
    assert ([one.text for one in page.selected], page.blanks) == ([FLEAS], 1)


def test_a_split_that_nobody_judged_has_no_judgements_and_says_how_many_rows(write):
    rows = [official(n, f"q{n}", passage(FLEAS, -1), passage(CATS, -1)) for n in range(3)]
    dataset = open_dataset(write("test.json", by_columns(rows)), reject=pytest.fail)
    assert dataset.splits() == ("test",)
    assert list(dataset.judgements("test")) == []
    assert list(dataset.examples("test")) == []
    assert len(list(dataset.queries("test"))) == 3
    assert len(list(dataset.documents())) == 2
    assert dataset.report()["test_rows_not_judged"] == 3
    page = list(dataset.judgements("test", "page"))
    assert page[:2] == [Judgement("0", text_hash(FLEAS), 1), Judgement("0", text_hash(CATS), 1)]


def test_a_passage_that_nobody_judged_is_no_negative():
    page = parse_row(official(1, "q", passage(FLEAS, 1), passage(CATS, -1), passage(DOGS, 0)))
    assert [one.text for one in page.others] == [DOGS]


@pytest.mark.parametrize(
    ("name", "split"),
    [("dev_v2.1.json", "validation"), ("eval_v2.1_public.json", "test"), ("test_public_v1.1.json", "test"),
     ("train_v1.1.json", "train"), ("training.json", "train"), ("test-00000-of-00001.parquet", "test"),
     ("sample.jsonl", "train")],
)  # fmt: skip
def test_a_files_name_tells_its_split(write, name, split):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    assert open_dataset(write(name, b"x"), reject=pytest.fail).splits() == (split,)


def test_a_folder_of_two_versions_asks_which(write, tmp_path):
    for name in ("train_v1.1.json", "dev_v1.1.json.gz", "train_v2.1.json"):
        write(name, "".join(json.dumps(row) + "\n" for row in ROWS))
    assert open_dataset(tmp_path, reject=pytest.fail, config="v1.1").splits() == ("train", "validation")
    with pytest.raises(UsageError, match=r"no configuration 'v3'; it has: v1.1, v2.1"):
        open_dataset(tmp_path, reject=pytest.fail, config="v3")


@pytest.mark.parametrize("place", ["", "data", "v1.1"])
def test_the_hubs_shards_alone_are_read(tmp_path, place):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    for number, row in enumerate(ROWS):
        columns = {name: [one[name] for one in row["passages"]] for name in ("is_selected", "passage_text", "url")}
        table = pyarrow.table({"query_id": [row["query_id"]], "query": [row["query"]], "passages": [columns]})
        parquet.write_table(table, folder / f"train-0000{number}-of-00003.parquet")
    assert read(tmp_path) == EXPECTED


def test_rows_from_a_folder_without_any_name_what_is_read(tmp_path):
    (tmp_path / "rows.txt").write_text("x")
    with pytest.raises(DatasetNotFound, match=r"looked for README.md, train.jsonl or train.parquet"):
        open_dataset(tmp_path, reject=pytest.fail)


def test_a_file_without_rows_is_an_error(write):
    with pytest.raises(DataError, match="there are no rows in the files of ms_marco"):
        list(open_dataset(write("train.jsonl", ""), reject=pytest.fail).documents())


texts = st.text(max_size=5) | st.sampled_from(['"', "\\", "{", "}]", "\n", "é"])
rows = st.lists(
    st.tuples(st.integers(0, 99), texts, st.lists(st.tuples(texts, st.sampled_from([0, 1, -1])))), max_size=5
)


@settings(max_examples=40, deadline=None)
@given(rows=rows, ascii=st.booleans())
def test_columns_read_like_the_same_rows_in_lines(tmp_path_factory, rows, ascii):
    folder = tmp_path_factory.mktemp("rows")
    made = [official(id, "q" + text, *(passage(t, mark) for t, mark in page)) for id, text, page in rows]
    lines = "".join(json.dumps(row, ensure_ascii=ascii) + "\n" for row in made)
    columns = json.dumps(
        {name: {str(n): row[name] for n, row in enumerate(made)} for name in official(0, "")}, ensure_ascii=ascii
    )
    (folder / "lines.json").write_text(lines)
    (folder / "columns.json").write_text(columns)
    found = [read(folder / name, reject=lambda bad: None) for name in ("lines.json", "columns.json")]
    assert found[0] == found[1]
