from collections import Counter

import pytest

from hybrid_search.training.negatives.miner import Miner, mine_in_row, rank_candidates
from hybrid_search.types import Document, Example, Query, Ranking

TEXTS = {
    "flea": "The flea lives for a hundred days.",
    "copy": "the flea  lives for a hundred DAYS.",
    "answer": "It is said to be a hundred days, more or less.",
    "prefix": "One hundred daysailers were there.",
    "tick": "The tick lives for years.",
    "mite": "Mites live for weeks.",
}
FLEA = Example(Query("q1", "how long do fleas live"), Document("flea", TEXTS["flea"]), (), ("a hundred days", "no"))


def get(ids):
    return [Document(i, TEXTS[i]) if i in TEXTS else None for i in ids]


def miner(ranking, **options):
    return Miner(lambda texts, k: [Ranking(*ranking)] * len(texts), get, **{"rank_window": (1, 100), **options})


def mined_ids(ranking, examples=(FLEA,), positives=None, **options):
    mining = miner(ranking, **options)
    return [[n.id for n in query.negatives] for query in mining.mine(examples, positives)], dict(mining.dropped)


def test_what_is_no_answer_is_kept_with_its_rank_score_and_source():
    [query] = miner((("tick", "mite"), (3.0, 2.0))).mine([FLEA])
    assert (query.query_id, query.query, query.positives) == ("q1", "how long do fleas live", ("flea",))
    assert [(n.id, n.rank, n.score, n.source) for n in query.negatives] == [
        ("tick", 1, 3.0, "bm25"),
        ("mite", 2, 2.0, "bm25"),
    ]


def test_the_querys_own_positives_are_dropped():
    ranking = (("flea", "tick", "mite"), (9.0, 3.0, 2.0))
    assert mined_ids(ranking, positives={"q1": frozenset({"mite"})}) == ([["tick"]], {"own_positive": 2})


def test_another_document_with_the_positives_text_is_dropped():
    assert mined_ids((("copy", "mite"), (3.0, 2.0))) == ([["mite"]], {"same_text_as_positive": 1})


def test_a_document_with_an_answer_in_whole_words_is_dropped():
    assert mined_ids((("answer", "prefix"), (3.0, 2.0))) == ([["prefix"]], {"contains_answer": 1})


def test_trivial_answers_drop_nothing():
    no = Example(FLEA.query, FLEA.positive, (), ("no", "the", "a"))
    assert mined_ids((("tick",), (3.0,)), examples=[no]) == ([["tick"]], {})


def test_what_scores_like_the_positive_is_dropped_when_the_positive_was_found():
    ranking = (("flea", "tick", "mite"), (10.0, 9.5, 9.4))
    assert mined_ids(ranking, false_negative_margin=0.95) == (
        [["mite"]],
        {"own_positive": 1, "scores_like_positive": 1},
    )
    assert mined_ids(ranking, false_negative_margin=0) == ([["tick", "mite"]], {"own_positive": 1})
    assert mined_ids((("tick", "mite"), (9.5, 9.4)), false_negative_margin=0.95) == ([["tick", "mite"]], {})


def test_only_ranks_inside_the_window_are_taken_and_searched_for():
    asked = []

    def search(texts, k):
        asked.append((list(texts), k))
        return [Ranking(("tick", "mite", "prefix", "answer"), (4.0, 3.0, 2.0, 1.0))]

    [query] = Miner(search, get, rank_window=(2, 3)).mine([FLEA])
    assert [(n.id, n.rank) for n in query.negatives] == [("mite", 2), ("prefix", 3)]
    assert asked == [(["how long do fleas live"], 3)]


def test_each_query_is_searched_once_and_in_batches():
    sizes = []

    def search(texts, k):
        sizes.append(len(texts))
        return [Ranking((), ())] * len(texts)

    examples = [Example(Query(f"q{i // 2}", f"query {i // 2}"), Document(f"d{i}", f"text {i}")) for i in range(10)]
    queries = list(Miner(search, get, batch_size=2).mine(examples))
    assert sizes == [2, 2, 1]
    assert [query.positives for query in queries][:2] == [("d0", "d1"), ("d2", "d3")]


def test_a_document_that_is_gone_is_dropped():
    assert mined_ids((("gone", "mite"), (3.0, 2.0))) == ([["mite"]], {"missing": 1})


def test_at_most_keep_are_drawn_from_the_window_the_same_for_the_same_seed():
    texts = {f"n{i}": f"text {i}" for i in range(50)}
    ranking = Ranking(tuple(texts), tuple(float(50 - i) for i in range(50)))

    def drawn(seed):
        mining = Miner(
            lambda _, k: [ranking],
            lambda ids: [Document(i, texts[i]) for i in ids],
            keep=5,
            seed=seed,
            rank_window=(1, 50),
        )
        [query] = mining.mine([FLEA])
        return [n.rank for n in query.negatives]

    assert len(drawn(0)) == 5
    assert drawn(0) == sorted(drawn(0)) == drawn(0)
    assert drawn(0) != drawn(1)


def test_negatives_of_the_row_pass_the_same_filters_and_are_ranked():
    row = tuple(Document(i, TEXTS[i]) for i in ("copy", "mite", "answer", "tick"))
    example = Example(Query("q1", "how long does the tick live"), FLEA.positive, row, FLEA.answers)
    dropped = Counter()
    [query] = mine_in_row([example], dropped=dropped)
    assert [(n.id, n.rank, n.source) for n in query.negatives] == [("tick", 1, "in_row"), ("mite", 2, "in_row")]
    assert dropped == {"same_text_as_positive": 1, "contains_answer": 1}


def test_candidates_of_a_short_list_are_ranked_by_their_matches():
    documents = [Document("b", "red red car"), Document("a", "blue car"), Document("c", "red car")]
    assert rank_candidates("red car", documents).ids == ("b", "c", "a")


def test_a_word_in_most_of_a_short_list_does_not_count_against_a_document():
    # Okapi's idf of "car" would be negative here, and put the only document without it first.
    documents = [Document("a", "car"), Document("b", "car"), Document("c", "tree")]
    assert rank_candidates("car", documents).ids == ("a", "b", "c")


@pytest.mark.parametrize("documents", [[], [Document("a", "…"), Document("b", "")]])
def test_candidates_without_a_word_are_ranked_by_id(documents):
    assert rank_candidates("red", documents).ids == tuple(document.id for document in documents)
