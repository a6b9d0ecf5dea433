import runpy
from pathlib import Path

import pytest

from hybrid_search import loaders
from hybrid_search.types import text_hash

pytestmark = pytest.mark.shared_data


def open_clean(name, path):
    return loaders.open_dataset(name, path, reject=pytest.fail)


@pytest.mark.parametrize(
    ("folder", "documents", "splits"),
    [
        ("nfcorpus", 3_633, {"train": (2_590, 110_575), "dev": (324, 11_385), "test": (323, 12_334)}),
        ("squad", 2_430, {"train": (11_877, 11_877)}),
        ("wikiqa", 18_814, {"train": (872, 1_039)}),
    ],
)
def test_beir_folders_are_read_completely(shared_data, folder, documents, splits):
    dataset = open_clean("beir", shared_data / folder)
    assert sum(1 for _ in dataset.documents()) == documents
    sizes = {
        split: (sum(1 for _ in dataset.queries(split)), sum(1 for _ in dataset.judgements(split)))
        for split in dataset.splits()
    }
    assert sizes == splits


def test_passage_ranking_files_are_read_completely(shared_data):
    dataset = open_clean("msmarco_passage", shared_data / "msmarco-passage")
    assert dataset.splits() == ("train", "dev.small", "dl19")
    ids = {document.id for document in dataset.documents()}
    assert len(ids) == 14_581
    judged = {judgement.query_id for judgement in dataset.judgements("dl19")}
    assert judged == {query.id for query in dataset.queries("dl19")}
    assert len(judged) == 43


def test_triples_are_gathered_without_losing_a_negative(shared_data):
    dataset = open_clean("msmarco_passage", shared_data / "msmarco-passage")
    examples = list(dataset.examples("train"))
    assert len({example.query.id for example in examples}) == len(list(dataset.queries("train"))) == 999
    assert len({(example.query.id, example.positive.id) for example in examples}) == len(examples) == 9_959
    assert sum(len(example.negatives) for example in examples) == 9_982
    assert dataset.report()["positives_in_collection"] == 7


def test_result_pages_are_read_completely(shared_data):
    dataset = open_clean("ms_marco", shared_data / "msmarco-qa" / "sample.jsonl")
    documents = list(dataset.documents())
    assert all(document.id == text_hash(document.text) for document in documents)
    assert len({document.id for document in documents}) == len(documents) == 1_631
    assert sum(1 for _ in dataset.queries("train")) == 277
    assert sum(1 for _ in dataset.examples("train")) == 199
    assert dataset.report()["train_rows_without_selected"] == 88


def test_the_hubs_layout_gives_the_same_records_as_the_rows_it_was_made_from(shared_data, tmp_path):
    rows = shared_data / "msmarco-qa" / "sample.jsonl"
    examples = Path(__file__).resolve().parents[3] / "examples"
    make_hub_folder = runpy.run_path(str(examples / "make_hub_folder.py"))["make_hub_folder"]
    assert make_hub_folder(rows, tmp_path) == {"train": 221, "validation": 28, "test": 28}
    from_rows, from_hub = open_clean("ms_marco", rows), open_clean("ms_marco", tmp_path)
    assert {document.id for document in from_hub.documents()} == {document.id for document in from_rows.documents()}
    expected = {(example.query, example.positive.id, example.answers) for example in from_rows.examples("train")}
    found = [example for split in from_hub.splits() for example in from_hub.examples(split)]
    assert {(example.query, example.positive.id, example.answers) for example in found} == expected
