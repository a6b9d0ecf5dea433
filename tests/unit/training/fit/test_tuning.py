"""On which queries a fusion is chosen and checked, when nothing is chosen, and what a choice out of many is."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from hybrid_search.cli.measuring.tune import _of_refit, _verdict, _verdict_of_refit
from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import DataError, UsageError
from hybrid_search.evaluation.measures import qrels_of
from hybrid_search.evaluation.significance import compare
from hybrid_search.loaders.registry import open_dataset
from hybrid_search.settings.index import Bm25, Fusion, IndexSettings
from hybrid_search.training.fit.choice import choose, cross_fitted, families, techniques
from hybrid_search.training.fit.table import GRID, FusionTable
from hybrid_search.training.fit.tune import (
    TuneReport,
    TuneRequest,
    _check_enough,
    _check_split,
    _Judged,
    _split,
    keeps,
    tune,
)
from hybrid_search.types import Document, Judgement, Query, Ranking


@pytest.mark.parametrize(
    ("splits", "chosen"),
    [(("train", "dev", "test"), "dev"), (("train", "validation", "test"), "validation"), (("all",), "all")],
)
def test_without_a_name_it_is_neither_what_was_trained_on_nor_what_is_measured_on(
    splits: tuple[str, ...], chosen: str
) -> None:
    assert _split(SimpleNamespace(name="x", splits=lambda: splits), "") == chosen


def test_where_there_are_only_these_a_split_must_be_named() -> None:
    dataset = SimpleNamespace(name="mine", splits=lambda: ("train", "test"))
    with pytest.raises(UsageError, match="mine has none of the splits dev, validation, all; name the split"):
        _split(dataset, "")
    assert _split(dataset, "test") == "test"
    with pytest.raises(UsageError, match="no split 'tset'; there are train, test"):
        _split(dataset, "tset")


def test_a_handful_of_queries_changes_nothing() -> None:
    with pytest.raises(DataError, match=r"split 'dev' has 9 queries.*fewer than 10"):
        _check_enough([None] * 9, "mine", "dev")


def test_an_index_without_vectors_has_nothing_to_weigh(tmp_path: Path) -> None:
    with closing(EmbeddedEngine.create(tmp_path / "index", IndexSettings())) as engine:
        engine.add([Document("a", "a text")], None)
        engine.commit()
    data = tmp_path / "data"
    (data / "qrels").mkdir(parents=True)
    (data / "documents.jsonl").write_text(json.dumps({"id": "a", "text": "a text"}) + "\n")
    (data / "queries.jsonl").write_text(json.dumps({"id": "q", "text": "text"}) + "\n")
    (data / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\n")
    with pytest.raises(UsageError, match="holds no vectors"):
        tune(tmp_path / "index", open_dataset("jsonl", data, reject=print))


@pytest.mark.parametrize(
    ("splits", "chosen", "asked", "checked"),
    [
        (("dev", "test"), "dev", "", "test"),
        (("dev", "test"), "test", "", ""),
        (("all",), "all", "", ""),
        (("dev", "test", "later"), "dev", "later", "later"),
    ],
)
def test_the_choice_is_checked_on_test_or_on_halves(splits, chosen: str, asked: str, checked: str) -> None:
    dataset = SimpleNamespace(name="x", splits=lambda: splits)
    assert _check_split(dataset, chosen, TuneRequest(check_on=asked)) == checked


def test_queries_that_choose_can_not_check() -> None:
    dataset = SimpleNamespace(name="x", splits=lambda: ("dev", "test"))
    with pytest.raises(UsageError, match="split 'dev' chooses; check on another split"):
        _check_split(dataset, "dev", TuneRequest(check_on="dev"))


def of_numbers(first: int, last: int) -> SimpleNamespace:
    """A data set of one split, whose query number n asks "what is n" and is answered by one document."""
    numbers = range(first, last)
    return SimpleNamespace(
        name="mine",
        queries=lambda split: [Query(f"{split}{n}", f"What is {n}?") for n in numbers],
        judgements=lambda split, judgement_set: [Judgement(f"{split}{n}", f"d{n}", 1) for n in numbers],
    )


def test_queries_of_the_split_to_check_on_that_chose_check_nothing() -> None:
    retriever = SimpleNamespace(engine=SimpleNamespace(get=lambda ids: [None] * len(ids)))
    chose = [Query(f"other-id-{n}", f"what  IS {n}?") for n in range(12)]
    judged = _Judged.of(retriever, of_numbers(8, 30), "test", TuneRequest(), 10, chose)
    assert [query.id for query in judged.queries] == [f"test{n}" for n in range(12, 30)]
    assert (judged.shared, len(judged.qrels.grades)) == (4, 18)
    with pytest.raises(DataError, match=r"10 queries of split 'test' chose, too, and of the others 3 have .* or leave"):
        _Judged.of(retriever, of_numbers(2, 15), "test", TuneRequest(), 10, chose)


def test_a_thousand_settings_are_tried_the_present_ones_first() -> None:
    present = Fusion(method="rrf", rank_constant=7, window=30, weights=(0.9, 0.1))
    tried = families(present, ("rrf", "min_max"))
    assert tried[0] == present.replace(weights=(0.5, 0.5))
    assert {(one.method, one.combination) for one in tried[1:]} == {
        ("rrf", "arithmetic"), ("min_max", "arithmetic"), ("min_max", "geometric"), ("min_max", "harmonic"),
    }  # fmt: skip
    assert {one.window for one in tried} == {30, 50, 100, 200, 500}
    assert len(tried) == 1 + 5 * (3 + 4)
    every = families(Fusion(), ("min_max", "min_max_from_zero", "l2", "z_score", "rrf"))
    assert len(every) * len(GRID) == 1_176 == len(set(every)) * len(GRID)


def curves(*of_families: dict[int, float], queries: int = 40, noise: float = 0.0) -> np.ndarray:
    """Values by (family, weight, query): 0.2 but for some weights, the families' rows differing by noise."""
    values = np.full((len(of_families), len(GRID), queries), 0.2)
    generator = np.random.default_rng(0)
    for family, means in enumerate(of_families):
        for weight, mean in means.items():
            drawn = generator.normal(size=queries)
            values[family, weight] = mean + noise * (drawn - drawn.mean())
    return values


def test_another_technique_is_taken_for_a_clear_gain_only() -> None:
    # 40 queries with a deviation of .2: one standard error of a mean is .032, of a difference of two about .045.
    level = dict.fromkeys(range(8, 13), 0.4)
    assert choose(curves(level, dict.fromkeys(range(8, 13), 0.42), noise=0.2))[0] == 0
    assert choose(curves(level, dict.fromkeys(range(8, 13), 0.48), noise=0.2))[0] == 0
    family, weight = choose(curves(level, dict.fromkeys(range(3, 8), 0.6), noise=0.2))
    assert (family, 3 <= weight <= 9) == (1, True)


def test_not_to_fuse_is_chosen_where_no_fusion_gains() -> None:
    bm25_alone = curves({len(GRID) - 1: 0.5}, {len(GRID) - 1: 0.5})
    knn_alone = curves({0: 0.5, 1: 0.45, 2: 0.45}, {0: 0.5})
    assert choose(bm25_alone) == (0, len(GRID) - 1)
    assert choose(knn_alone) == (0, 0)


def test_half_of_the_queries_is_measured_with_what_the_other_half_chooses() -> None:
    # Even queries want the first family's weight 5, odd ones the second's 15: each half misleads the other.
    values = np.full((2, len(GRID), 40), 0.1)
    values[0, 5, ::2] = values[1, 15, 1::2] = 0.9
    assert cross_fitted(values).tolist() == [0.1] * 40
    values[0, 5] = 0.9
    assert cross_fitted(values).tolist() == [0.9] * 40


def test_the_best_of_each_technique_is_told_the_best_first() -> None:
    tried = [Fusion(), Fusion(window=50), Fusion(method="rrf"), Fusion(method="rrf", rank_constant=20)]
    found = techniques(curves({10: 0.3}, {10: 0.4}, {8: 0.5}, {8: 0.45}), tried)
    assert [(one.fusion.method, one.fusion.window, one.fusion.rank_constant) for one in found] == [
        ("rrf", 200, 60), ("min_max", 50, 60),
    ]  # fmt: skip
    assert [round(one.mean, 9) for one in found] == [0.5, 0.4]
    assert found[0].fusion.weights == (0.4, 0.6)


def test_random_towers_are_answered_by_bm25_alone_whatever_is_tried() -> None:
    tried = families(Fusion(), ("min_max", "min_max_from_zero", "l2", "z_score", "rrf"))
    ids = [f"d{number:02d}" for number in range(40)]
    for seed in range(2):
        generator = np.random.default_rng(seed)
        bm25, knn, judgements = {}, {}, []
        for query in (f"q{number}" for number in range(60)):
            scores = tuple(np.sort(generator.gamma(2.0, size=40))[::-1].tolist())
            order = generator.permutation(40)
            bm25[query] = Ranking(tuple(ids[place] for place in order), scores)
            knn[query] = Ranking(tuple(ids[place] for place in generator.permutation(40)), scores)
            judgements.append(Judgement(query, ids[order[min(int(generator.exponential(2.0)), 39)]], 1))
        table = FusionTable(bm25, knn, qrels_of(judgements))
        assert choose(table.of_families(tried)) == (0, len(GRID) - 1)


@pytest.mark.parametrize(
    ("weights", "change", "stays"),
    [
        ((1.0, 0.0), "level", True), ((0.0, 1.0), "level", True), ((1.0, 0.0), "better", False),
        ((0.4, 0.6), "level", False), ((0.4, 0.6), "worse", True), ((1.0, 0.0), "worse", True),
    ],
)  # fmt: skip
def test_a_leg_is_not_switched_off_by_chance(weights: tuple[float, float], change: str, stays: bool) -> None:
    before = {f"q{number}": 0.5 for number in range(30)}
    gains = {"level": (0.1, -0.1), "better": (0.1, 0.2), "worse": (-0.1, -0.2)}[change]
    after = {name: 0.5 + gains[number % 2] for number, name in enumerate(before)}
    compared = compare({"before": before, "after": after}, baseline="before", seed=0)["after"]
    assert keeps(Fusion(weights=(0.7, 0.3)), Fusion(weights=weights), compared) is stays
    if change == "level":  # what was off before is not switched off now
        assert not keeps(Fusion(weights=weights), Fusion(weights=weights, window=50), compared)


def test_tune_and_refit_say_alike_that_what_did_not_hold_is_not_written() -> None:
    before, after = Fusion(weights=(0.75, 0.25)), Fusion(weights=(1.0, 0.0))
    even, odd = {"a": 0.5, "b": 0.5, "c": 0.5}, {"a": 0.6, "b": 0.4, "c": 0.35}
    checked = compare({"before": even, "after": odd}, baseline="before", seed=0)
    report = TuneReport(
        "index", "dev", "", 3, 3, "nDCG@10", 21, 0.0, "bm25 alone", before, after, Bm25(), Bm25(), {}, (), checked,
        checked["after"], is_significant=False, is_kept=True, is_written=False, trained_on=0.0,
    )  # fmt: skip
    held = f"did not hold: -0.0500 nDCG@10 on held-out queries, p {checked['after'].p_value:.4f}: not more than chance"
    assert _verdict(report) == (
        "The settings stay as they are: min_max, arithmetic, BM25 0.75, k-NN 0.25. "
        f"What looked best on split dev, BM25 alone, {held} explains."
    )
    assert _verdict_of_refit(report) == (
        "The weights stay as they are: BM25 0.75, k-NN 0.25. "
        f"What looked best on split dev, BM25 1.00, k-NN 0.00, {held} explains."
    )
    assert _of_refit(report)["weights_after"] == (0.75, 0.25)
    found = _of_refit(replace(report, tuning={"before": 0.6, "bm25": 0.4, "knn": 0.3, "after": 0.7}))
    assert [found[name] for name in ("before", "bm25", "knn", "chosen")] == [0.6, 0.4, 0.3, 0.7]
    assert (found["held_out_before"], round(found["held_out_chosen"], 6)) == (0.5, 0.45)
    fits = replace(report, is_kept=False, after=Fusion(weights=(0.6, 0.4)), answer="fuse")
    assert _verdict(fits, deploy=False).endswith(" To write it: the same command with --deploy.")
    assert "--deploy" not in _verdict(fits, deploy=True)
    written = replace(report, is_kept=False, is_written=True, is_significant=True)
    assert _verdict_of_refit(written).startswith("Written: BM25 1.00, k-NN 0.00: k-NN is off, BM25 alone searches. ")
