import pytest

from hybrid_search.training.loop.optimiser import EarlyStopping, learning_rate_factor


def factors(schedule, warmup_share=0.2, steps=10):
    return [learning_rate_factor(s, steps, warmup_share=warmup_share, schedule=schedule) for s in range(steps)]


def test_the_rate_warms_up_and_then_stays():
    assert factors("constant") == [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1]


def test_the_rate_falls_on_a_line_to_zero():
    assert factors("linear") == pytest.approx([0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125])


def test_the_rate_falls_on_a_cosine():
    assert factors("cosine")[6] == pytest.approx(0.5)
    assert factors("cosine")[2] == 1


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert factors("linear", warmup_share=0)[0] == 1


def test_stopping_waits_for_as_many_evaluations_in_a_row_as_it_was_given():
    stopping = EarlyStopping(patience=2)
    improved = [stopping.improves(step, measure) for step, measure in enumerate([0.1, 0.3, 0.3, 0.2])]
    assert improved == [True, True, False, False]
    assert stopping.is_exhausted
    assert (stopping.best, stopping.best_step) == (0.3, 1)


def test_an_improvement_starts_the_wait_anew():
    stopping = EarlyStopping(patience=2)
    for step, measure in enumerate([0.3, 0.2, 0.4, 0.3]):
        stopping.improves(step, measure)
    assert not stopping.is_exhausted


def test_no_patience_never_stops():
    stopping = EarlyStopping(patience=0)
    for step in range(50):
        stopping.improves(step, 0.0)
    assert not stopping.is_exhausted
