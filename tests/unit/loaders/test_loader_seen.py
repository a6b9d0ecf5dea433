from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.loaders.first_only import FirstOnly
from hybrid_search.loaders.formats import Line
from hybrid_search.loaders.intake import Intake
from hybrid_search.loaders.seen import Seen
from hybrid_search.types import Rejection


@given(st.lists(st.tuples(st.text(max_size=2), st.sampled_from("xy")), max_size=300))
def test_seen_agrees_with_a_dict(pairs):
    seen, expected = Seen(), {}
    for id, content in pairs:
        verdict = "new" if id not in expected else "same" if expected[id] == content else "other"
        expected.setdefault(id, content)
        assert seen.add(id, content) == verdict
    assert len(seen) == len(expected)


def test_seen_remembers_all_while_it_grows():
    seen = Seen()
    assert {seen.add(f"d{number}") for number in range(5_000)} == {"new"}
    assert {seen.add(f"d{number}") for number in range(5_000)} == {"same"}


def test_the_first_record_of_an_id_stays(rejected):
    counts = Counter()
    first = FirstOnly("documents", counts, rejected.append)
    line = Line("a.tsv", 7, 0, "1\tother")
    assert [first.passes(line, "1", text) for text in ("one", "one", "other")] == [True, False, False]
    assert counts == {"documents": 1, "duplicate_documents": 1}
    assert [(bad.line, bad.field, bad.record) for bad in rejected] == [(7, "id", "1\tother")]


@pytest.mark.parametrize(("line", "passed"), [(3, 1), (0, 2)], ids=["with a line", "without a line"])
def test_a_rejection_of_a_line_passes_once(rejected, line, passed):
    reject = Intake(rejected.append)
    for _ in range(2):
        reject(Rejection("a.tsv", line, "text", "blank"))
    assert len(rejected) == passed
