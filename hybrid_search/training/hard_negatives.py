"""Collects the hard negatives of a training run, from every source in its schedule."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.protocols import Reporter, Task
from hybrid_search.search import Search
from hybrid_search.settings.training import NegativeSource, TrainConfig
from hybrid_search.training.data.pairs import Pairs
from hybrid_search.training.mine import negatives_header
from hybrid_search.training.negatives.file import read_header, read_negatives, write_negatives
from hybrid_search.training.negatives.miner import Miner, mine_in_row
from hybrid_search.training.resume import WorkFolder
from hybrid_search.types import Example, Ranking, Rejection

__all__ = ["collect_negatives", "needs_dense_file"]

Negatives = dict[NegativeSource, dict[str, list[str]]]


def collect_negatives(
    engine: EmbeddedEngine,
    pairs: Pairs,
    examples: Sequence[Example],
    config: TrainConfig,
    *,
    work: WorkFolder,
    files: Sequence[Path] = (),
    reporter: Reporter,
) -> Mapping[NegativeSource, Mapping[str, Sequence[str]]]:
    """Read the given files of negatives, and mine the other sources of the schedule.

    :return: source -> query id -> document ids; without ``random``, which needs no mining.
    """
    negatives: Negatives = defaultdict(lambda: defaultdict(list))
    for file in files:
        _read(file, negatives, reporter.reject)
    sources = _sources(config) if examples else set()
    if "in_row" in sources:
        dropped: Counter[str] = Counter()
        for query in mine_in_row(examples, pairs.positives, dropped=dropped):
            negatives["in_row"][query.query_id] = [negative.id for negative in query.negatives]
    if "bm25" in sources and "bm25" not in negatives:
        file = work.path / "negatives.jsonl"
        if not file.exists():
            _mine(engine, pairs, examples, config, file, reporter)
        _read(file, negatives, reporter.reject)
    return negatives


def needs_dense_file(config: TrainConfig) -> bool:
    """Return whether the schedule contains dense negatives, which must come from a file."""
    return "dense" in _sources(config)


def _sources(config: TrainConfig) -> set[NegativeSource]:
    """Return the sources to collect; none for losses that use a teacher's scores or vectors."""
    if config.loss in ("margin_mse", "kl", "align") or config.hard_negatives == 0:
        return set()
    return {source for _, mix in config.negatives for source in mix if source != "random"}


def _read(file: Path, negatives: Negatives, reject: Callable[[Rejection], None]) -> None:
    source = read_header(file).source
    for query in read_negatives(file, reject):
        negatives[source][query.query_id] += [negative.id for negative in query.negatives]


def _mine(
    engine: EmbeddedEngine,
    pairs: Pairs,
    examples: Sequence[Example],
    config: TrainConfig,
    file: Path,
    reporter: Reporter,
) -> None:
    queries = len({example.query.id for example in examples})
    with reporter.progress("mining BM25 negatives", queries) as task:
        miner = Miner(
            _search(engine, task),
            engine.get,
            rank_window=config.rank_window,
            false_negative_margin=config.false_negative_margin,
            seed=config.seed,
        )
        header = negatives_header(engine, "the training corpus", "bm25", config)
        write_negatives(file, header, miner.mine(examples, pairs.positives))
    if miner.dropped:
        dropped = ", ".join(f"{k.replace('_', ' ')} {v:,}" for k, v in miner.dropped.items())
        reporter.say(f"taken for false negatives: {dropped}")


def _search(engine: EmbeddedEngine, task: Task) -> Callable[[Sequence[str], int], list[Ranking]]:
    def search(texts: Sequence[str], k: int) -> list[Ranking]:
        rankings = engine.rank(Search.of(texts, k, "bm25"))
        task.advance(len(texts))
        return rankings

    return search
