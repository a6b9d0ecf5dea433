import numpy as np

from hybrid_search.training.negatives.miner import Miner
from hybrid_search.training.teacher.scores import Case, TeacherJudge
from hybrid_search.types import Document, Example, Query, Ranking

# Angles to the query in degrees.
ANGLES = {"query": 0, "answer": 30, "better": 20, "near": 25, "far": 60, "opposite": 180}


def vectors_of(texts):
    known = np.array([text in ANGLES for text in texts])
    angles = np.radians([ANGLES.get(text, 0) for text in texts])
    return (np.stack([np.cos(angles), np.sin(angles)], axis=1) * known[:, None]).astype(np.float32), known


def judged(answers, candidates, *, query="query", share=0.95):
    return TeacherJudge(vectors_of, share)([Case(query, answers, candidates)])[0]


def test_a_candidate_nearly_as_near_as_the_answer_is_a_false_negative():
    # cos 30 = .866, of it .95: .823; cos 25 = .906, cos 60 = .5.
    assert judged(["answer"], ["near", "far"]) == [True, False]


def test_the_best_answer_sets_the_measure():
    # cos 20 = .940, of it .97: .911, which cos 25 = .906 does not reach.
    assert judged(["answer", "better"], ["near"], share=0.97) == [False]
    assert judged(["answer"], ["near"], share=0.97) == [True]


def test_what_the_teacher_does_not_know_is_left_as_it_is():
    assert judged(["answer"], ["strange", "near"]) == [False, True]
    assert judged(["strange"], ["near"]) == [False]
    assert judged(["answer"], ["near"], query="strange") == [False]


def test_an_answer_that_the_teacher_finds_unlike_the_query_judges_nothing():
    assert judged(["opposite"], ["near", "opposite"]) == [False, False]


def test_cases_of_a_batch_are_judged_apart():
    judge = TeacherJudge(vectors_of, 0.95)
    assert judge(
        [Case("query", ["answer"], ["near"]), Case("far", ["answer"], []), Case("far", ["far"], ["near"])]
    ) == [
        [True],
        [],
        [False],
    ]


def test_a_miner_drops_and_counts_what_its_judge_takes_for_an_answer():
    miner = Miner(
        lambda texts, k: [Ranking(("near", "far"), (2.0, 1.0))] * len(texts),
        lambda ids: [Document(i, i) for i in ids],
        rank_window=(1, 10),
        judge=TeacherJudge(vectors_of, 0.95),
    )
    [mined] = miner.mine([Example(Query("q", "query"), Document("a", "answer"))])
    assert [negative.id for negative in mined.negatives] == ["far"]
    assert miner.dropped["teacher_takes_for_positive"] == 1
