import numpy as np
import pytest

from hybrid_search.errors import TrainingError
from hybrid_search.training.data.arrays import Corpus, Tokens, build_training_data, build_validation_data
from hybrid_search.types import Document, Example, Query

WORDS = ["pad", "unk", "red", "blue", "car", "tree", "house"]


def encode(texts):
    return [np.array([WORDS.index(word) for word in text.lower().split()], dtype=np.int32) for text in texts]


TOKENS = Tokens(encode, encode)
RED = Example(Query("q1", "red"), Document("d1", "red car"))
BLUE = Example(Query("q2", "blue"), Document("d2", "blue car"))
CORPUS = {"d1": "red car", "d2": "blue car", "d3": "tree", "d4": "house", "d5": "Red  car"}


def get(ids):
    return [Document(i, CORPUS[i]) if i in CORPUS else None for i in ids]


def build(examples, **options):
    corpus = Corpus(options.pop("get_documents", get), options.pop("documents", ()))
    return build_training_data(examples, TOKENS, corpus, **{"positives": {}, "negatives": {}, **options})


def texts(rows, numbers):
    return [" ".join(WORDS[token] for token in rows[int(number)]) for number in numbers]


def test_pairs_point_to_the_tokens_of_query_and_positive():
    data = build([RED, BLUE])
    assert [(texts(data.queries, [q])[0], texts(data.documents, [d])[0]) for q, d in data.pairs] == [
        ("red", "red car"), ("blue", "blue car"),
    ]  # fmt: skip


def test_equal_texts_share_a_row_and_a_pair_comes_once():
    again = Example(Query("q9", "RED "), Document("d5", "Red  car"))
    data = build([RED, again, RED])
    assert (len(data.queries), len(data.documents), len(data.pairs)) == (1, 1, 1)
    assert data.report == {"examples": 3, "queries": 1, "documents": 1, "pairs": 1}


def test_mined_negatives_are_fetched_once_and_never_a_positive():
    asked = []

    def recorded(ids):
        asked.extend(ids)
        return get(ids)

    negatives = {"bm25": {"q1": ["d3", "d1", "d5", "gone"], "q2": ["d3", "d4"], "q9": ["d4"]}}
    data = build([RED, BLUE], negatives=negatives, get_documents=recorded)
    assert asked == ["d3", "d5", "gone", "d4"]
    assert [texts(data.documents, row) for row in (data.negatives["bm25"][0], data.negatives["bm25"][1])] == [
        ["tree"], ["tree", "house"],
    ]  # fmt: skip


def test_texts_that_the_examples_bring_are_not_fetched():
    example = Example(RED.query, RED.positive, (Document("row1", "house"), Document("row2", "tree")))
    data = build([example], negatives={"in_row": {"q1": ["row1"]}}, get_documents=lambda ids: pytest.fail(str(ids)))
    assert texts(data.documents, range(len(data.documents))) == ["red car", "house"]


def test_known_positives_that_are_no_examples_are_masked():
    data = build([RED, BLUE], positives={"q1": frozenset({"d1", "d2", "d4"})})
    assert data.positives[0].tolist() == [0, 1]
    assert data.positives[1].tolist() == [1]


def test_without_examples_the_documents_alone_are_the_data():
    data = build([], documents=[RED.positive, BLUE.positive])
    assert data.pairs.shape == (0, 2)
    assert texts(data.documents, [0, 1]) == ["red car", "blue car"]


def test_teacher_scores_choose_the_negatives_and_the_pairs():
    teacher = {"q1": {"d1": 5.0, "d3": 1.0, "d4": 0.5}, "q2": {"d2": 4.0}}
    data = build([RED, BLUE], teacher=teacher)
    assert len(data.pairs) == 1
    assert data.report["without_teacher_score"] == 1
    assert texts(data.documents, data.teacher_negatives[0]) == ["tree", "house"]
    assert sorted(data.teacher.values()) == [0.5, 1.0, 4.0, 5.0]


def test_a_score_file_of_other_ids_is_an_error():
    with pytest.raises(TrainingError, match=r"none of 1 examples has teacher scores .* ids"):
        build([RED], teacher={"other": {"d1": 1.0}})


def test_the_digest_changes_with_the_data():
    one = build([RED, BLUE], negatives={"bm25": {"q1": ["d3"]}})
    same = build([RED, BLUE], negatives={"bm25": {"q1": ["d3"]}})
    other = build([RED, BLUE], negatives={"bm25": {"q1": ["d4"]}})
    assert one.digest() == same.digest() != other.digest()


def validation(examples, **options):
    others = (Document(i, text) for i, text in CORPUS.items())
    defaults = {"positives": {}, "others": others, "max_queries": 10, "max_documents": 10, "seed": 0}
    return build_validation_data(examples, TOKENS, **{**defaults, **options})


def test_the_validation_corpus_holds_the_positives_and_others_each_text_once():
    data = validation([RED])
    assert texts(data.documents, range(len(data.documents))) == ["red car", "blue car", "tree", "house"]
    assert texts(data.queries, [0]) == ["red"]
    assert data.relevant[0].tolist() == [0]


def test_further_known_positives_in_the_validation_corpus_are_relevant():
    data = validation([RED], positives={"q1": frozenset({"d1", "d4"})})
    assert texts(data.documents, data.relevant[0]) == ["red car", "house"]


def test_the_validation_corpus_is_cut_to_its_size_by_a_seeded_sample():
    examples = [Example(Query(f"q{i}", WORDS[i]), Document(f"d{i}", f"{WORDS[i]} car")) for i in range(2, 6)]
    data = validation(examples, max_queries=2, max_documents=4)
    assert len(data.queries) == 2
    assert 2 < len(data.documents) <= 4
    again = validation(examples, max_queries=2, max_documents=4)
    assert data.documents.values.tolist() == again.documents.values.tolist()


def test_without_examples_there_is_nothing_to_validate_on():
    assert validation([]) is None


def test_the_corpus_joins_the_documents_of_the_examples():
    data = build([RED], documents=(Document(i, text) for i, text in CORPUS.items()))
    assert texts(data.documents, range(len(data.documents))) == ["red car", "blue car", "tree", "house"]
