import json
import subprocess
import sys

import pytest

from hybrid_search.errors import UsageError
from hybrid_search.loaders.passages import cut, summary_and_rest
from hybrid_search.loaders.python_docs import open_dataset
from hybrid_search.types import normalise_text


@pytest.fixture(scope="module")
def dataset():
    return open_dataset(None, reject=pytest.fail)


@pytest.fixture(scope="module")
def documents(dataset):
    return {document.id: document for document in dataset.documents()}


def test_there_are_a_few_thousand_passages_and_queries(dataset, documents):
    assert 4_000 < len(documents) < 7_000
    for split in ("train", "test"):
        assert 700 < len(list(dataset.queries(split))) < 1_500


def test_every_id_and_every_text_names_one_document(dataset, documents):
    assert dataset.report()["documents"] == len(documents)
    assert len({document.text for document in documents.values()}) == len(documents)


def test_no_passage_contains_a_query(dataset, documents):
    everything = "\n".join(normalise_text(document.text) for document in documents.values())
    queries = [query.text for split in dataset.splits() for query in dataset.queries(split)]
    assert [text for text in queries if normalise_text(text) in everything] == []


def test_no_query_text_is_in_both_splits(dataset):
    train, test = ({normalise_text(query.text) for query in dataset.queries(split)} for split in ("train", "test"))
    assert train.isdisjoint(test)


def test_no_passage_answers_queries_of_both_splits(dataset):
    train, test = ({judged.document_id for judged in dataset.judgements(split)} for split in ("train", "test"))
    assert train.isdisjoint(test)


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_query_has_a_judged_passage_and_every_judged_passage_exists(dataset, documents, split):
    judgements = list(dataset.judgements(split))
    assert {judgement.query_id for judgement in judgements} == {query.id for query in dataset.queries(split)}
    assert {judgement.document_id for judgement in judgements} <= documents.keys()
    assert {judgement.grade for judgement in judgements} == {1}


def test_a_known_docstring_is_asked_by_its_summary_and_answered_by_the_rest(dataset, documents):
    document = documents["textwrap.dedent"]
    assert document.title == "textwrap.dedent"
    assert document.metadata == {"module": "textwrap", "kind": "function"}
    assert "Remove any common leading whitespace" not in document.text
    queries = {query.id: query.text for split in dataset.splits() for query in dataset.queries(split)}
    asking = [
        queries[judgement.query_id]
        for split in dataset.splits()
        for judgement in dataset.judgements(split)
        if judgement.document_id == document.id
    ]
    assert asking == ["Remove any common leading whitespace from every line in `text`."]


def test_topics_and_compiled_modules_are_there(documents):
    assert documents["topic:assert"].metadata == {"kind": "topic"}
    assert documents["builtins.dict"].metadata == {"module": "builtins", "kind": "class"}


def test_no_path_and_no_configuration_are_taken(tmp_path):
    with pytest.raises(UsageError, match="takes no `path`"):
        open_dataset(tmp_path, reject=pytest.fail)
    with pytest.raises(UsageError, match="has no configurations"):
        open_dataset(None, reject=pytest.fail, config="v1")


def test_another_process_reads_the_same_and_imports_none_of_what_it_reads(dataset, documents):
    script = (
        "import json, sys; from hybrid_search.loaders.python_docs import open_dataset;"
        "d = open_dataset(None, reject=print);"
        "ids = [x.id for x in d.documents()]; queries = [x.text for x in d.queries('test')];"
        "bad = [m for m in ('antigravity', 'this', 'turtle', 'tkinter', 'idlelib', 'asyncio') if m in sys.modules];"
        "print(json.dumps([ids, queries, bad]))"
    )
    command = [sys.executable, "-c", script]
    ids, queries, imported = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert ids == list(documents)
    assert queries == [query.text for query in dataset.queries("test")]
    assert imported == []


@pytest.mark.parametrize(
    ("text", "summary", "rest"),
    [
        ("Open a file.\n\nMore of it.", "Open a file.", "More of it."),
        ("Open a\nfile. It stays\nopen.\n\nMore.", "Open a file.", "It stays\nopen.\n\nMore."),
        ("Take a form, e.g. A or B. Then go.", "Take a form, e.g. A or B.", "Then go."),
        ("Version 3.11 is out", "Version 3.11 is out", ""),
    ],
)
def test_the_summary_is_the_first_sentence(text, summary, rest):
    assert summary_and_rest(text) == (summary, rest)


def test_a_text_is_cut_between_paragraphs_and_a_short_end_joins_the_last_passage():
    long, short = " ".join(["word"] * 130), "end"
    assert list(cut(f"{long}\n\n{long}\n \n{short}")) == [long, f"{long}\n\n{short}"]
    assert list(cut("one\n\ntwo")) == ["one\n\ntwo"]
