import pytest

from hybrid_search.errors import DatasetNotFound, UsageError
from hybrid_search.loaders.collection import CollectionIndex, by_id, by_text
from hybrid_search.loaders.msmarco_passage import open_dataset
from hybrid_search.types import Document, Example, Judgement, Query, text_hash

FLEAS, CATS, DOGS = Document("11", "Fleas jump."), Document("12", "Cats sleep."), Document("13", "Dogs bark.")
COLLECTION = "11\tFleas jump.\n12\tCats sleep.\n13\tDogs bark.\n"


def outside(text):
    return Document(text_hash(text), text)


@pytest.fixture(params=["", ".gz"], ids=["plain", "gzipped"])
def folder(request, write, tmp_path):
    def build(**files):
        write(f"collection.tsv{request.param}", COLLECTION)
        for name, content in files.items():
            write(name.replace("_", ".") + request.param, content)
        return tmp_path

    return build


def test_a_collection_alone_is_a_data_set_without_splits(folder):
    dataset = open_dataset(folder(), reject=pytest.fail)
    assert list(dataset.documents()) == [FLEAS, CATS, DOGS]
    assert dataset.splits() == ()


def test_splits_are_what_is_there(folder):
    path = folder(
        queries_dl19_tsv="1\tdo fleas jump\n",
        queries_dev_small_tsv="2\tdo cats sleep\n",
        qrels_dl19_txt="1 0 11 3\n1 0 12 0\n",
        qrels_dev_small_tsv="2\t0\t12\t1\n",
        triples_train_tsv="q\tp\tn\n",
    )
    dataset = open_dataset(path, reject=pytest.fail)
    assert dataset.splits() == ("train", "dev.small", "dl19")
    assert list(dataset.queries("dl19")) == [Query("1", "do fleas jump")]
    assert list(dataset.judgements("dl19")) == [Judgement("1", "11", 3), Judgement("1", "12", 0)]
    assert list(dataset.judgements("dev.small")) == [Judgement("2", "12", 1)]
    assert list(dataset.examples("dl19")) == []


def test_text_triples_of_a_query_and_positive_are_gathered(folder):
    path = folder(
        triples_tsv="do fleas jump\tFleas jump.\tCats sleep.\n"
        "do fleas jump\tThey do.\tCats sleep.\n"
        "do fleas jump\tFleas jump.\tBirds sing.\n"
        "do fleas jump\tFleas jump.\tThey do.\n"
        "do cats sleep\tCats sleep.\tDogs bark.\n"
    )
    dataset = open_dataset(path, reject=pytest.fail)
    fleas = Query(text_hash("do fleas jump"), "do fleas jump")
    cats = Query(text_hash("do cats sleep"), "do cats sleep")
    # "They do." is a positive of the query too, so it is no negative of it.
    assert list(dataset.examples("train")) == [
        Example(fleas, FLEAS, (CATS, outside("Birds sing."))),
        Example(fleas, outside("They do."), (CATS,)),
        Example(cats, CATS, (DOGS,)),
    ]
    assert dataset.report()["positives_outside_collection"] == 1
    assert dataset.report()["positives_in_collection"] == 2
    assert list(dataset.queries("train")) == [fleas, cats]
    assert list(dataset.judgements("train")) == [
        Judgement(fleas.id, "11", 1),
        Judgement(fleas.id, text_hash("They do."), 1),
        Judgement(cats.id, "12", 1),
    ]


def test_a_query_of_the_triples_that_the_training_queries_have_keeps_its_id(folder):
    path = folder(
        queries_train_tsv="7\tDo fleas  jump\n8\tunused\n",
        qrels_train_tsv="7\t0\t11\t1\n",
        triples_tsv="do fleas jump\tFleas jump.\tCats sleep.\ndo cats sleep\tCats sleep.\tDogs bark.\n",
    )
    dataset = open_dataset(path, reject=pytest.fail)
    other = text_hash("do cats sleep")
    assert [example.query.id for example in dataset.examples("train")] == ["7", other]
    assert [query.id for query in dataset.queries("train")] == ["7", "8", other]
    assert list(dataset.judgements("train")) == [Judgement("7", "11", 1)]


def test_id_triples_are_looked_up_and_unknown_ids_rejected(folder, rejected):
    path = folder(
        queries_train_tsv="7\tdo fleas jump\n",
        qidpidtriples_train_tsv="7\t11\t13\n7\t11\t12\n9\t11\t12\n7\t99\t12\n7\t11\t99\n7\t11\n",
    )
    dataset = open_dataset(path, reject=rejected.append)
    assert list(dataset.examples("train")) == [Example(Query("7", "do fleas jump"), FLEAS, (DOGS, CATS))]
    assert [(bad.line, bad.field) for bad in rejected] == [
        (3, "qid"),
        (4, "positive pid"),
        (5, "negative pid"),
        (6, ""),
    ]


def test_id_triples_without_training_queries_are_refused(folder):
    with pytest.raises(DatasetNotFound, match=r"looked for queries\.train\.tsv, which the qidpidtriples need"):
        open_dataset(folder(qidpidtriples_tsv="7\t11\t13\n"), reject=pytest.fail)


def test_top_1000_files_are_read_as_candidates(folder, rejected):
    path = folder(top1000_dev_tsv="1\t11\tdo fleas jump\tFleas jump.\n1\t12\tdo fleas jump\t \n")
    dataset = open_dataset(path, reject=rejected.append)
    assert list(dataset.candidates("dev")) == [(Query("1", "do fleas jump"), FLEAS)]
    assert [(bad.line, bad.field) for bad in rejected] == [(2, "passage")]
    with pytest.raises(UsageError, match=r"no top1000\.eval\.tsv; candidates are there for: dev"):
        dataset.candidates("eval")


def test_bad_lines_are_rejected_and_the_rest_is_read(write, tmp_path, rejected):
    write(
        "collection.tsv", b"11\tFleas jump.\r\n\tno id\n12\t \n11\tOther.\n13\n14\tb\xffd\n15\tDogs\tbark.\n16\tEnd.\n"
    )
    write("triples.tsv", "q\t\tn\n\tp\tn\n")
    dataset = open_dataset(tmp_path, reject=rejected.append)
    assert list(dataset.documents()) == [FLEAS, Document("16", "End.")]
    assert [(bad.line, bad.field) for bad in rejected] == [
        (2, "pid"),
        (3, "text"),
        (4, "id"),
        (5, ""),
        (6, ""),
        (7, ""),
    ]
    rejected.clear()
    assert list(dataset.examples("train")) == []
    triples = [bad for bad in rejected if bad.source.endswith("triples.tsv")]
    assert [(bad.line, bad.field) for bad in triples] == [(1, "positive"), (2, "query")]


def test_a_folder_without_a_collection_is_refused(write, tmp_path):
    write("queries.dev.tsv", "1\tq\n")
    with pytest.raises(DatasetNotFound, match=r"looked for collection\.tsv .* found queries\.dev\.tsv;"):
        open_dataset(tmp_path, reject=pytest.fail)
    with pytest.raises(UsageError, match=r"msmarco_passage needs a `path`: a folder with collection\.tsv"):
        open_dataset(None, reject=pytest.fail)


@pytest.mark.parametrize("name", ["collection.tsv", "collection.tsv.gz"])
def test_the_index_finds_every_passage_by_id_and_by_text(write, name):
    rows = [(str(7 * number), f"Passage {number} é") for number in range(300)]
    content = "\ufeff" + "\r\n".join(f"{pid}\t{text}" for pid, text in rows)
    path = write(name, content)
    ids, texts = CollectionIndex(path, by_id, pytest.fail), CollectionIndex(path, by_text, pytest.fail)
    assert all(ids.get(pid) == Document(pid, text) for pid, text in rows)
    assert all(texts.get(text_hash(f" {text.upper()}")) == Document(pid, text) for pid, text in rows)
    assert ids.get("1") is None
    assert texts.get("7") is None


def test_an_index_of_an_empty_file_finds_nothing(write):
    assert CollectionIndex(write("collection.tsv", ""), by_id, pytest.fail).get("1") is None
