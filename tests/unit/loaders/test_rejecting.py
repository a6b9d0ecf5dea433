"""What may be refused, and what is said at the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search import loaders
from hybrid_search.errors import DataError, HybridSearchError, RecordsRejected, UsageError
from hybrid_search.loaders.allowance import Allowance
from hybrid_search.loaders.intake import Intake, Source
from hybrid_search.loaders.rejecting import rejecting
from hybrid_search.types import Rejection


@pytest.mark.parametrize(
    ("text", "meant"),
    [("0", Allowance(count=0)), ("20", Allowance(count=20)), ("1%", Allowance(share=0.01)),
     ("0.5%", Allowance(share=0.005)), ("100%", Allowance(share=1.0))],
)  # fmt: skip
def test_an_allowance_is_read_and_written(text, meant):
    assert Allowance.parse(text) == meant
    assert str(meant) == text


@pytest.mark.parametrize("text", ["", "-1", "1.5", "101%", "1 %", "many", "%", "nan%", "1e3"])
def test_what_is_no_allowance_is_refused(text):
    with pytest.raises(UsageError, match="is no allowance: write a number of records, such as 20, or"):
        Allowance.parse(text)


@pytest.mark.parametrize(
    ("allow", "rejected", "allowed"),
    [("1%", 0, True), ("1%", 10, True), ("1%", 11, False), ("10", 10, True), ("10", 11, False), ("0", 1, False),
     ("0%", 1, False)],
)  # fmt: skip
def test_a_share_is_of_the_file_and_a_number_of_all(allow, rejected, allowed):
    assert Allowance.parse(allow).allows({"corpus": Source(1_000, rejected), "qrels": Source(10, 0)}) is allowed


def test_a_large_corpus_is_no_excuse_for_lost_judgements():
    sources = {"corpus.jsonl": Source(1_000_000, 0), "qrels/test.tsv": Source(20, 1)}
    assert not Allowance(share=0.01).allows(sources)
    assert Allowance(count=1).allows(sources)


def test_what_an_index_refuses_is_measured_by_the_largest_file():
    assert Allowance(share=0.01).allows({"corpus": Source(1_000, 0), "queries": Source(5, 0), "index": Source(0, 10)})
    assert not Allowance(share=0.01).allows({"corpus": Source(1_000, 0), "index": Source(0, 11)})
    assert not Allowance(share=0.01).allows({"index": Source(0, 1)})


@given(st.dictionaries(st.text(max_size=2), st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=4))
def test_nothing_refused_is_always_allowed_and_all_refused_never_by_the_default(sizes):
    clean = {name: Source(records, 0) for name, (records, _) in sizes.items()}
    assert Allowance(count=0).allows(clean)
    assert loaders.Allowance(share=0.01).allows(clean)
    lost = {name: Source(records, records) for name, (records, _) in sizes.items()}
    assert loaders.Allowance(share=0.01).allows(lost) is not any(source.is_lost for source in lost.values())


def reject_some(intake, source, count, of):
    for line in range(count):
        intake(Rejection(source, line + 1, "text", "blank"))
    intake.read(source, of)


def test_a_few_refused_records_are_a_warning(tmp_path):
    said = []
    with rejecting(tmp_path / "dead.jsonl", tell=said.append) as intake:
        reject_some(intake, "corpus.jsonl", 2, 1_400)
    dead = tmp_path / "dead.jsonl"
    assert said == [
        f"Warning: 2 of 1,400 records were rejected and are in {dead}: text: blank (2), which is allowed "
        "(`allow` 1%). Everything else was taken."
    ]
    assert len(dead.read_text().splitlines()) == 2


def ended(dead, block, **how):
    """Return what a block ended with."""
    try:
        with rejecting(dead, **how) as intake:
            block(intake)
    except HybridSearchError as error:
        return error
    return None


def test_more_than_allowed_is_an_error_after_the_block_is_done(tmp_path):
    done = []

    def block(intake):
        reject_some(intake, "corpus.jsonl", 15, 1_400)
        done.append(True)

    error = ended(tmp_path / "dead.jsonl", block, allow=Allowance(count=14))
    assert isinstance(error, RecordsRejected)
    assert str(error).startswith("15 of 1,400 records were rejected")
    assert "text: blank (15)" in str(error)
    assert done


def test_one_record_is_spoken_of_once_and_in_the_singular(tmp_path):
    def block(intake):
        intake(Rejection("-", 1, "id", "id is 1; it must be text"))
        intake.read("-", 1)

    dead = tmp_path / "dead.jsonl"
    assert str(ended(dead, block)) == (
        f"The only record of standard input was rejected (line 1: id is 1; it must be text); it is in {dead}. "
        "`allow`, here 1%, can allow it."
    )

    def one_of_two(intake):
        intake(Rejection("a", 1, "text", "blank"))
        intake.read("a", 2)

    assert str(ended(dead, one_of_two)).startswith(
        f"1 of 2 records was rejected and is in {dead}: text: blank (1). Every"
    )


def test_a_clean_run_says_nothing_and_leaves_no_file(tmp_path):
    with rejecting(tmp_path / "dead.jsonl", allow=Allowance(count=0), tell=pytest.fail) as intake:
        intake.read("corpus.jsonl", 9)
    assert list(tmp_path.iterdir()) == []


def test_where_a_whole_file_was_refused_that_is_said_before_what_came_of_it(tmp_path):
    def block(intake):
        intake.read("corpus.jsonl", 5_000)
        for line in (1, 2):
            intake(Rejection("test.tsv", line, "grade", "not a whole number: 'x'"))
        intake.read("test.tsv", 2)
        raise DataError("none of the 0 queries has a judgement")

    error = ended(tmp_path / "dead.jsonl", block)
    assert isinstance(error, RecordsRejected)
    assert str(error) == (
        "All 2 records of test.tsv were rejected (the first, at line 1: grade: not a whole number: 'x'); they are in "
        f"{tmp_path / 'dead.jsonl'}. Therefore: none of the 0 queries has a judgement"
    )


def test_an_empty_file_is_named_behind_an_error(tmp_path):
    def block(intake):
        intake.read("qrels.tsv", 0)
        raise DataError("there is nothing to train on")

    assert str(ended(tmp_path / "dead.jsonl", block)) == "qrels.tsv is empty. Therefore: there is nothing to train on"


def test_other_errors_stay_as_they_are(tmp_path):
    odd = DataError("the disk is odd")

    def block(intake):
        intake.read("corpus.jsonl", 9)
        intake(Rejection("corpus.jsonl", 1, "", "bad"))
        raise odd

    assert ended(tmp_path / "dead.jsonl", block) is odd


def test_reading_a_data_set_counts_its_records_and_headings_are_none(write, tmp_path):
    write("documents.jsonl", '{"id": "1", "text": "x"}\n\n{"id": "2"}\nnot JSON\n')
    write("queries.jsonl", '{"id": "q", "text": "x"}\n')
    write("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq\t1\tmany\n")
    intake = Intake(lambda rejection: None)
    dataset = loaders.open_dataset("jsonl", tmp_path, reject=intake)
    for _ in range(2):
        list(dataset.documents())
        list(dataset.queries("test"))
        list(dataset.judgements("test"))
    counted = {name.rpartition("/")[2]: (one.records, one.rejected) for name, one in intake.sources.items()}
    assert counted == {"documents.jsonl": (3, 2), "queries.jsonl": (1, 0), "test.tsv": (1, 1)}
    assert [name.rpartition("/")[2] for name in intake.lost] == ["test.tsv"]


def test_reasons_that_quote_each_record_do_not_take_the_memory(tmp_path):
    with loaders.DeadLetter(tmp_path / "dead.jsonl") as dead:
        for number in range(1_500):
            dead(Rejection("a", number, "", f"reason {number}"))
    assert len(dead.reasons) == 1_001
    assert dead.reasons["other reasons"] == 500
    assert dead.count == 1_500


def test_the_records_of_all_sources_are_counted(tmp_path):
    def block(intake):
        reject_some(intake, "table.csv", 50, 50)
        intake.read("folder", 700)

    error = ended(tmp_path / "dead.jsonl", block)
    assert "50 of 750 records were rejected" in str(error)
