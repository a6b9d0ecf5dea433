import pytest

from hybrid_search.errors import DatasetNotFound, UsageError
from hybrid_search.loaders.beir import open_dataset as open_beir
from hybrid_search.loaders.jsonl import open_dataset as open_jsonl
from hybrid_search.types import Document, Judgement, Query

CORPUS = (
    '{"_id": "d1", "title": "Fleas", "text": "Fleas jump.", "metadata": {"url": "u"}, "extra": 1}\n'
    '{"_id": "d2", "title": "", "text": "Cats sleep."}\n'
)
QUERIES = '{"_id": "q1", "text": "do fleas jump", "metadata": {}}\n{"_id": "q2", "text": "do cats sleep"}\n'


@pytest.fixture
def beir(write, tmp_path):
    write("corpus.jsonl", CORPUS)
    write("queries.jsonl", QUERIES)
    write("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq2\td2\t1\n")
    write("qrels/train.tsv.gz", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n")
    return tmp_path


def test_a_beir_folder_gives_documents_queries_and_judgements(beir, rejected):
    dataset = open_beir(beir, reject=rejected.append)
    assert dataset.name == "beir"
    assert list(dataset.documents()) == [
        Document("d1", "Fleas jump.", "Fleas", {"url": "u"}),
        Document("d2", "Cats sleep."),
    ]
    assert dataset.splits() == ("train", "test")
    assert list(dataset.queries("train")) == [Query("q1", "do fleas jump")]
    assert list(dataset.queries("test")) == [Query("q2", "do cats sleep")]
    assert list(dataset.judgements("train")) == [Judgement("q1", "d1", 2), Judgement("q1", "d2", 0)]
    assert list(dataset.examples("train")) == []
    assert dataset.report() == {"documents": 2, "train_queries": 1, "test_queries": 1}
    assert rejected == []


def test_a_second_pass_counts_anew(beir):
    dataset = open_beir(beir, reject=pytest.fail)
    assert list(dataset.documents()) == list(dataset.documents())
    assert dataset.report() == {"documents": 2}


def test_a_copy_is_counted_and_another_text_under_the_id_is_rejected(beir, write, rejected):
    write("corpus.jsonl", CORPUS + CORPUS.splitlines()[1] + '\n{"_id": "d1", "text": "Other."}\n')
    dataset = open_beir(beir, reject=rejected.append)
    assert [document.text for document in dataset.documents()] == ["Fleas jump.", "Cats sleep."]
    assert dataset.report() == {"documents": 2, "duplicate_documents": 1}
    assert [(bad.line, bad.field) for bad in rejected] == [(4, "id")]


def test_bad_records_are_named_and_the_rest_is_read(beir, write, rejected):
    write("corpus.jsonl", '{"_id": "d0"}\n' + CORPUS + '{"_id": "d3", "text": "x", "metadata": {"a": {}}}\n')
    write("queries.jsonl", '{"_id": "q0", "text": ""}\n' + QUERIES)
    dataset = open_beir(beir, reject=rejected.append)
    assert len(list(dataset.documents())) == 2
    assert len(list(dataset.queries("test"))) == 1
    places = [(bad.source.rpartition("/")[2], bad.line, bad.field) for bad in rejected]
    assert places == [("corpus.jsonl", 1, "text"), ("corpus.jsonl", 4, "metadata.a"), ("queries.jsonl", 1, "text")]


def test_an_unknown_split_or_judgement_set_lists_the_known_ones(beir):
    dataset = open_beir(beir, reject=pytest.fail)
    for call in (dataset.queries, dataset.judgements, dataset.examples):
        with pytest.raises(UsageError, match="beir has no split 'dev'; it has: train, test"):
            call("dev")
    with pytest.raises(UsageError, match="no judgement set 'page'; it has: qrels"):
        dataset.judgements("test", "page")


def test_a_wrong_folder_says_what_was_looked_for_and_what_is_there(write, tmp_path):
    write("documents.jsonl", "")
    write("qrels/test.txt", "")
    with pytest.raises(
        DatasetNotFound,
        match=r"looked for corpus\.jsonl, queries\.jsonl, qrels/\*\.tsv .* found documents\.jsonl, qrels/test\.txt; ",
    ):
        open_beir(tmp_path, reject=pytest.fail)


@pytest.mark.parametrize("open_dataset", [open_beir, open_jsonl], ids=["beir", "jsonl"])
def test_no_path_no_folder_and_a_configuration_are_refused(open_dataset, tmp_path):
    with pytest.raises(UsageError, match="needs a `path`: a "):
        open_dataset(None, reject=pytest.fail)
    with pytest.raises(DatasetNotFound, match="nowhere does not exist; `path` of"):
        open_dataset(tmp_path / "nowhere", reject=pytest.fail)
    with pytest.raises(UsageError, match=r"has no configurations, so 'v1\.1' can't be chosen|jsonl is 'v1\.1'"):
        open_dataset(tmp_path, reject=pytest.fail, config="v1.1")


def test_beir_does_not_take_a_file(write):
    with pytest.raises(DatasetNotFound, match="is not a folder; `path` of beir takes"):
        open_beir(write("corpus.jsonl", CORPUS), reject=pytest.fail)


def test_one_file_of_documents_is_a_data_set_without_queries(write):
    path = write("mine.jsonl.gz", '{"id": 1, "text": "x", "metadata": {"tags": ["a"]}}\n')
    dataset = open_jsonl(path, reject=pytest.fail)
    assert list(dataset.documents()) == [Document("1", "x", "", {"tags": ("a",)})]
    assert dataset.splits() == ()


def test_a_folder_of_ones_own_may_have_qrels_in_any_of_three_places(write, tmp_path):
    write("documents.jsonl", '{"id": "d", "text": "x"}\n')
    write("queries.jsonl", '{"id": "a", "text": "A"}\n{"id": "b", "text": "B"}\n{"id": "c", "text": "C"}\n')
    write("qrels.tsv", "a\td\t1\nb\td\t1\n")
    write("qrels.train.tsv", "a\td\t1\n")
    write("qrels/test.tsv", "b\td\t1\n")
    dataset = open_jsonl(tmp_path, reject=pytest.fail)
    assert dataset.splits() == ("train", "test", "all")
    assert [[query.id for query in dataset.queries(split)] for split in dataset.splits()] == [["a"], ["b"], ["a", "b"]]


def test_queries_without_qrels_are_one_split_without_judgements(write, tmp_path):
    write("documents.jsonl", '{"id": "d", "text": "x"}\n')
    write("queries.jsonl", '{"id": "a", "text": "A"}\n')
    dataset = open_jsonl(tmp_path, reject=pytest.fail)
    assert dataset.splits() == ("all",)
    assert list(dataset.queries("all")) == [Query("a", "A")]
    assert list(dataset.judgements("all")) == []


def test_a_users_folder_without_documents_or_with_qrels_alone_is_refused(write, tmp_path):
    with pytest.raises(DatasetNotFound, match=r"looked for documents\.jsonl .* found nothing"):
        open_jsonl(tmp_path, reject=pytest.fail)
    write("documents.jsonl", "")
    write("qrels.tsv", "a\td\t1\n")
    with pytest.raises(DatasetNotFound, match=r"looked for queries\.jsonl, which the qrels need"):
        open_jsonl(tmp_path, reject=pytest.fail)
