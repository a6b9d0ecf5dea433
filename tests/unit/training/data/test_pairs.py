from hybrid_search.training.data.pairs import gather_examples, split_by_answer
from hybrid_search.types import Document, Example, Judgement, Query, text_hash


class Dataset:
    """A data set held in lists; the protocol's own names."""

    def __init__(self, documents=(), queries=(), judgements=(), examples=()):
        self.by_id = {document.id: document for document in documents}
        self._queries, self._judgements, self._examples = queries, judgements, examples

    def queries(self, split):
        return iter(self._queries)

    def judgements(self, split, judgement_set=""):
        return iter(self._judgements)

    def examples(self, split):
        return iter(self._examples)

    def get(self, ids):
        return [self.by_id.get(i) for i in ids]


def example(number, query="", positive=""):
    return Example(
        Query(f"q{number}", query or f"query {number}"), Document(f"d{number}", positive or f"text {number}")
    )


def gather(dataset, **options):
    return gather_examples(dataset, "train", get_documents=dataset.get, **options)


def test_ready_made_examples_are_taken_as_they_are():
    examples = [example(1), example(2)]
    pairs = gather(Dataset(examples=examples))
    assert pairs.examples == examples
    assert pairs.positives == {"q1": {"d1"}, "q2": {"d2"}}
    assert pairs.report == {"examples": 2, "queries": 2}


def judged():
    documents = [Document(f"d{i}", f"text {i}") for i in range(5)]
    queries = [Query("q1", "first"), Query("q2", "second")]
    grades = [("q1", "d0", 1), ("q1", "d1", 3), ("q1", "d2", 0), ("q1", "d3", 2), ("q2", "d4", 1)]
    return Dataset(documents, queries, [Judgement(*grade) for grade in grades])


def test_judgements_become_examples_with_the_best_grades_first_and_every_query_in_turn():
    pairs = gather(judged())
    assert [(e.query.id, e.positive.id) for e in pairs.examples] == [
        ("q1", "d1"), ("q2", "d4"), ("q1", "d3"), ("q1", "d0"),
    ]  # fmt: skip


def test_positives_beyond_the_cap_are_no_examples_but_stay_known():
    pairs = gather(judged(), positives_per_query=1)
    assert [e.positive.id for e in pairs.examples] == ["d1", "d4"]
    assert pairs.positives["q1"] == {"d0", "d1", "d3"}
    assert pairs.report["positives_beyond_cap"] == 2


def test_judgements_of_missing_queries_and_documents_are_counted():
    dataset = judged()
    del dataset.by_id["d4"]
    dataset._judgements.append(Judgement("q9", "d0", 1))
    report = gather(dataset).report
    assert report["judged_document_missing"] == 1
    assert report["judged_query_without_text"] == 1


def test_a_query_of_a_test_split_is_left_out_whatever_its_case_and_spaces():
    pairs = gather(Dataset(examples=[example(1, "What is  BM25?"), example(2)]), held_out={text_hash("what is bm25?")})
    assert [e.query.id for e in pairs.examples] == ["q2"]
    assert pairs.report["held_out_query"] == 1


def test_blank_and_repeated_examples_are_left_out():
    examples = [example(1, query=" "), example(2, positive="\n"), example(3), example(3)]
    pairs = gather(Dataset(examples=examples))
    assert [e.query.id for e in pairs.examples] == ["q3"]
    assert pairs.report == {"blank": 2, "duplicate": 1, "examples": 1, "queries": 1}


def test_a_sample_is_the_same_for_the_same_seed_and_in_reading_order():
    dataset = Dataset(examples=[example(i) for i in range(60)])
    first = [e.query.id for e in gather(dataset, max_samples=10, seed=3).examples]
    assert len(first) == 10
    assert first == sorted(first, key=lambda name: int(name[1:]))
    assert [e.query.id for e in gather(dataset, max_samples=10, seed=3).examples] == first
    assert [e.query.id for e in gather(dataset, max_samples=10, seed=4).examples] != first


def test_a_sample_does_not_read_a_long_stream_to_its_end():
    read = []

    def stream():
        for i in range(10_000):
            read.append(i)
            yield example(i)

    gather(Dataset(examples=stream()), max_samples=5)
    assert len(read) <= 52


def test_a_split_by_answer_has_no_query_text_on_both_sides():
    examples = [example(i, query=f"query {i // 2}") for i in range(400)]
    examples += [example(1_000 + i, query=f"QUERY  {i}") for i in range(200)]
    training, validation = split_by_answer(examples, 0.25, seed=0)
    hashes = [{text_hash(e.query.text) for e in part} for part in (training, validation)]
    assert not hashes[0] & hashes[1]
    assert len(training) + len(validation) == 600
    assert 100 < len(validation) < 200


def test_a_split_depends_on_the_seed_and_a_share_of_zero_holds_nothing_out():
    examples = [example(i) for i in range(100)]
    assert split_by_answer(examples, 0.3, seed=0) == split_by_answer(examples, 0.3, seed=0)
    assert split_by_answer(examples, 0.3, seed=0) != split_by_answer(examples, 0.3, seed=1)
    assert split_by_answer(examples, 0.0, seed=0)[1] == []


def test_questions_about_one_title_stay_together():
    examples = [
        Example(Query(f"q{i}", f"question {i}"), Document(f"d{i // 3}", f"text {i // 3}", title=f"title {i // 9}"))
        for i in range(360)
    ]
    training, validation = split_by_answer(examples, 0.1, seed=0)
    titles = [{e.positive.title for e in part} for part in (training, validation)]
    assert not titles[0] & titles[1]
    assert 30 <= len(validation) <= 43


def test_where_all_titles_are_the_same_questions_about_one_text_stay_together():
    examples = [
        Example(Query(f"q{i}", f"question {i}"), Document(f"d{i // 3}", f"text {i // 3}", title="help"))
        for i in range(360)
    ]
    training, validation = split_by_answer(examples, 0.1, seed=0)
    texts = [{e.positive.text for e in part} for part in (training, validation)]
    assert not texts[0] & texts[1]
    assert 30 <= len(validation) <= 43


def test_where_one_text_answers_everything_queries_are_split_by_themselves():
    examples = [Example(Query(f"q{i}", f"question {i}"), Document("d", "the manual")) for i in range(100)]
    assert 8 <= len(split_by_answer(examples, 0.1, seed=0)[1]) <= 12
