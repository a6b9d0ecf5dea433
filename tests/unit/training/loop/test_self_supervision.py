import numpy as np

from hybrid_search.settings.training import TrainConfig
from hybrid_search.training.data.arrays import TrainingData
from hybrid_search.training.data.rows import Rows
from hybrid_search.training.loop.batches import Batches
from hybrid_search.training.loop.made_examples import SelfSupervision

# Token 2 stands in every document, token 10 + n in document n alone.
DOCUMENTS = Rows.of([[2, 10 + n] * 10 for n in range(30)] + [[2, 3]])


def test_the_draw_depends_on_seed_and_step_alone():
    first = SelfSupervision(DOCUMENTS, seed=0).draw(5, step=3)
    again = SelfSupervision(DOCUMENTS, seed=0).draw(5, step=3)
    assert first[0].tolist() == again[0].tolist()
    assert [query.tolist() for query in first[1]] == [query.tolist() for query in again[1]]
    assert SelfSupervision(DOCUMENTS, seed=0).draw(5, step=4)[0].tolist() != first[0].tolist()


def test_documents_are_drawn_once_and_only_if_long_enough():
    rows, queries, documents = SelfSupervision(DOCUMENTS, seed=0).draw(100, step=0)
    assert sorted(rows.tolist()) == list(range(30))
    assert len(queries) == len(documents) == 30


def test_a_query_is_telling_words_of_the_whole_document_or_a_stretch_that_is_cut_out():
    seen = set()
    for step in range(20):
        for row, query, document in zip(*SelfSupervision(DOCUMENTS, seed=0).draw(30, step), strict=True):
            whole = DOCUMENTS[int(row)].tolist()
            if len(document) == len(whole):
                assert set(query.tolist()) <= set(whole)
                seen.add("whole")
            else:
                assert 5 <= len(query) <= 12
                assert sorted([*query.tolist(), *document.tolist()]) == sorted(whole)
                seen.add("cut")
    assert seen == {"whole", "cut"}


def test_rare_words_are_drawn_before_frequent_ones():
    documents = Rows.of([[2] * 19 + [100 + n] for n in range(400)])
    made = [SelfSupervision(documents, seed=0)._make(documents[n], np.random.default_rng(n)) for n in range(200)]
    keywords = [query for query, document in made if len(document) == 20 and len(query) < 5]
    assert np.mean([query.max() >= 100 for query in keywords]) > 0.9


def test_made_examples_follow_the_labelled_ones_and_bar_their_own_document_only():
    data = TrainingData(
        queries=Rows.of([[5], [6]]),
        documents=DOCUMENTS,
        pairs=np.array([[0, 0], [1, 1]], dtype=np.int32),
        positives=Rows.of([[0], [1]]),
        negatives={},
    )
    batch = Batches(data, TrainConfig(batch_size=2, hard_negatives=1, self_supervised=2.0)).at(0)
    assert batch.queries.shape[0] == 2 + 4
    assert batch.documents.shape[0] == 2 + 4 + 2
    assert batch.mask.shape == (6, 8)
    assert sorted(batch.queries[:2, 0].tolist()) == [5, 6]
    assert batch.mask[:, :6].diagonal().all()
    own = batch.documents.max(1).values.tolist()  # the token that stands in one document alone
    expected = [[own[i] == own[j] for j in range(8)] for i in range(6)]
    assert batch.mask.tolist() == expected


def test_documents_that_are_all_short_make_no_examples():
    rows, queries, documents = SelfSupervision(Rows.of([[2, 3]]), seed=0).draw(4, step=0)
    assert (len(rows), len(queries), len(documents)) == (0, 0, 0)
