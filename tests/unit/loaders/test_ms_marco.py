import json
import runpy
import sys
from pathlib import Path

import pytest

from hybrid_search.errors import DataError, DatasetNotFound, MissingExtra, UsageError
from hybrid_search.loaders.ms_marco import open_dataset
from hybrid_search.types import Document, Example, Judgement, Query, text_hash

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
make_hub_folder = runpy.run_path(str(EXAMPLES / "make_hub_folder.py"))["make_hub_folder"]


def row(id=1, query="do fleas jump", texts=("Fleas jump.", "Cats sleep."), selected=(1, 0), **changes):
    passages = {"is_selected": list(selected), "passage_text": list(texts), "url": ["u"] * len(texts)}
    base = {"query_id": id, "query": query, "query_type": "DESCRIPTION", "answers": ["They do."], "passages": passages}
    return {**base, **changes}


@pytest.fixture
def open_rows(write, rejected):
    def open_written(*rows, name="train.jsonl"):
        return open_dataset(write(name, "".join(json.dumps(row) + "\n" for row in rows)), reject=rejected.append)

    return open_written


def document(text, url="u"):
    return Document(text_hash(text), text, metadata={"url": url} if url else {})


def test_a_selected_passage_is_the_positive_and_the_others_are_negatives(open_rows):
    dataset = open_rows(row())
    query = Query("1", "do fleas jump")
    fleas, cats = document("Fleas jump."), document("Cats sleep.")
    assert list(dataset.documents()) == [fleas, cats]
    assert list(dataset.queries("train")) == [query]
    assert list(dataset.examples("train")) == [Example(query, fleas, (cats,), ("They do.",))]


def test_the_page_is_a_judgement_set_of_its_own(open_rows):
    dataset = open_rows(row())
    fleas, cats = text_hash("Fleas jump."), text_hash("Cats sleep.")
    assert dataset.judgement_sets() == ("selected", "page")
    assert list(dataset.judgements("train")) == [Judgement("1", fleas, 1)]
    assert list(dataset.judgements("train", "page")) == [Judgement("1", fleas, 1), Judgement("1", cats, 1)]
    with pytest.raises(UsageError, match="no judgement set 'all'; it has: selected, page"):
        dataset.judgements("train", "all")


def test_each_of_two_selected_passages_makes_an_example_and_neither_is_a_negative(open_rows):
    dataset = open_rows(row(texts=("a b", "c d", "e f", "A  b"), selected=(1, 1, 0, 0)))
    examples = list(dataset.examples("train"))
    assert [example.positive.text for example in examples] == ["a b", "c d"]
    assert [example.negatives for example in examples] == [(document("e f"),)] * 2


def test_shared_blank_and_unselected_are_counted(open_rows):
    dataset = open_rows(row(), row(2, "who sleeps", ("cats  sleep.", " ", "Dogs."), (0, 0, 0), answers=[]))
    assert [found.text for found in dataset.documents()] == ["Fleas jump.", "Cats sleep.", "Dogs."]
    assert [query.id for query in dataset.queries("train")] == ["1", "2"]
    assert [example.query.id for example in dataset.examples("train")] == ["1"]
    assert [judgement.query_id for judgement in dataset.judgements("train")] == ["1"]
    assert dataset.report() == {
        "documents": 3,
        "duplicate_passages": 1,
        "blank_passages": 1,
        "train_queries": 2,
        "train_rows_without_selected": 1,
        "train_examples": 1,
    }


def test_blank_urls_and_answers_that_say_there_is_none_are_left_out(open_rows):
    blank = {"is_selected": [1], "passage_text": ["x"], "url": [""]}
    [example] = open_rows(row(passages=blank, answers=["No Answer Present.", ""])).examples("train")
    assert example == Example(Query("1", "do fleas jump"), document("x", url=""))


@pytest.mark.parametrize(
    ("bad", "field", "reason"),
    [
        (row(query=" "), "query", "blank"),
        (row(query=None), "query", "Expected `str`, got `null`"),
        (row(id=None), "query_id", "Expected `int | str`, got `null`"),
        (row(passages=None), "passages", "Expected `object | array`, got `null`"),
        (row(selected=(1,)), "passages", "is_selected, passage_text and url differ in length: 1, 2 and 2"),
        (row(selected=("x", 0)), "passages.is_selected[0]", "Expected `bool | int | float | null`, got `str`"),
        ({"query_id": 1}, "query", "Object missing required field `query`"),
    ],
)
def test_a_malformed_row_is_rejected_by_line_and_field(open_rows, rejected, bad, field, reason):
    assert [query.id for query in open_rows(row(), bad, row(3)).queries("train")] == ["1", "3"]
    assert [(found.line, found.field, found.reason) for found in rejected] == [(2, field, reason)]


def test_a_folder_of_files_has_the_splits_that_are_there(write, tmp_path):
    write("validation.jsonl.gz", json.dumps(row()) + "\n")
    write("train.jsonl", json.dumps(row(2)) + "\n")
    dataset = open_dataset(tmp_path, reject=pytest.fail)
    assert dataset.splits() == ("train", "validation")
    assert [query.id for query in dataset.queries("validation")] == ["1"]
    assert len(list(dataset.documents())) == 2


def test_a_file_whose_name_is_no_split_is_train(open_rows):
    assert open_rows(row(), name="sample.jsonl").splits() == ("train",)
    assert open_rows(row(), name="test.jsonl").splits() == ("test",)


def test_wrong_places_and_configurations_are_refused(write, tmp_path):
    with pytest.raises(DatasetNotFound, match=r"looked for README\.md, train\.jsonl or train\.parquet.*found nothing"):
        open_dataset(tmp_path, reject=pytest.fail)
    path = write("train.jsonl", "")
    for place in (path, tmp_path):
        with pytest.raises(UsageError, match=r"has no configurations, so 'v1\.1'"):
            open_dataset(place, reject=pytest.fail, config="v1.1")
    with pytest.raises(UsageError, match=r"microsoft/ms_marco has no configuration 'v3'; it has: v1\.1, v2\.1"):
        open_dataset(None, reject=pytest.fail, config="v3")


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    rows = folder / "rows.jsonl"
    texts = [row(number, f"query {number}", (f"text {number}", "shared")) for number in range(12)]
    rows.write_text("".join(json.dumps(found) + "\n" for found in texts))
    assert make_hub_folder(rows, folder / "repository") == {"train": 8, "validation": 2, "test": 2}
    return folder / "repository"


def test_a_folder_in_the_hubs_layout_reads_like_its_rows(hub_folder, capfd):
    dataset = open_dataset(hub_folder, reject=pytest.fail)
    assert dataset.splits() == ("train", "validation", "test")
    assert [query.id for query in dataset.queries("validation")] == ["0", "10"]
    [first, _] = dataset.examples("test")
    assert first == Example(Query("1", "query 1"), document("text 1"), (document("shared"),), ("They do.",))
    assert len(list(dataset.documents())) == 13
    assert dataset.report()["duplicate_passages"] == 11
    assert capfd.readouterr() == ("", "")


def test_a_configuration_that_the_folder_lacks_lists_those_it_has(hub_folder):
    with pytest.raises(UsageError, match=r"no configuration 'v2\.1'; it has: v1\.1"):
        open_dataset(hub_folder, reject=pytest.fail, config="v2.1")


def test_a_parquet_file_reads_like_its_rows(hub_folder):
    dataset = open_dataset(hub_folder / "v1.1" / "test-00000-of-00001.parquet", reject=pytest.fail)
    assert [query.id for query in dataset.queries("test")] == ["1", "11"]


def test_a_damaged_parquet_file_is_a_data_error(write):
    path = write("train.parquet", b"PAR1 this is none")
    with pytest.raises(DataError, match=r"train\.parquet: the parquet file can't be read after row 0"):
        list(open_dataset(path, reject=pytest.fail).documents())


def test_without_a_route_to_the_hub_the_error_says_what_path_takes(monkeypatch, capfd):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        DataError, match=r"microsoft/ms_marco can't be reached \(ConnectError.*`path`: a folder in the hub"
    ):
        open_dataset(None, reject=pytest.fail)
    assert capfd.readouterr() == ("", "")


def test_without_the_datasets_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"hybrid-search-towers\[train\]"):
        open_dataset(None, reject=pytest.fail)
