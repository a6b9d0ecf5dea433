"""Mines hard negatives for a split's queries from an index, into a file that training reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal

from hybrid_search.errors import DataError, UsageError
from hybrid_search.opening import open_retriever
from hybrid_search.protocols import Dataset, Engine, Progress, Task, silent
from hybrid_search.settings.index import IndexSettings
from hybrid_search.settings.training import NegativeSource, TrainConfig
from hybrid_search.storage import check_outside_indexes
from hybrid_search.types import Query, Ranking

if TYPE_CHECKING:
    from hybrid_search.retrieval.retriever import Retriever
    from hybrid_search.training.negatives.file import Header
    from hybrid_search.training.negatives.miner import MinedQuery, Search

__all__ = ["MineReport", "MiningMode", "held_out_hashes", "mine", "negatives_header"]

MiningMode = Literal["bm25", "knn", "hybrid"]

SOURCES: Mapping[MiningMode, NegativeSource] = {"bm25": "bm25", "knn": "dense", "hybrid": "dense"}


@dataclass(frozen=True, slots=True)
class MineReport:
    """The result of mining. ``dropped`` counts suspected false negatives by reason."""

    file: str
    queries: int
    negatives: int
    seconds: float
    queries_per_second: float
    dropped: Mapping[str, int]
    examples: Mapping[str, int]


def _check_free(out: Path) -> None:
    from hybrid_search.training.negatives.file import read_header

    check_outside_indexes(out)
    try:
        if out.exists():
            read_header(out)
    except DataError:
        raise UsageError(f"{out} is a file of something else, which would be lost; give another `out`") from None


def mine(
    dataset: Dataset,
    location: str | Path,
    out: Path,
    *,
    split: str = "train",
    mode: MiningMode = "bm25",
    config: TrainConfig | None = None,
    model: Path | None = None,
    progress: Progress = silent,
) -> MineReport:
    """Rank an index for every query of a split, and keep documents near the top that are no answers.

    :param mode: what ranks: the lexical leg, the dense leg (negatives for a second round), or both fused.
    :param config: for ``rank_window``, ``false_negative_margin``, ``max_samples`` and ``seed``.
    :raises DataError: if the split has no examples whose documents are in the index.
    :raises UsageError: if ``out`` is a file that was not written by this function, or lies inside an index.
    """
    from hybrid_search.training.data.pairs import gather_examples
    from hybrid_search.training.negatives.file import write_negatives
    from hybrid_search.training.negatives.miner import Miner

    config = config or TrainConfig()
    _check_free(out)
    retriever = open_retriever(location, model=model)
    try:
        engine = retriever.engine
        pairs = gather_examples(
            dataset,
            split,
            get_documents=engine.get,
            max_samples=config.max_samples,
            seed=config.seed,
            held_out=held_out_hashes(dataset, split),
        )
        if not pairs.examples:
            raise DataError(
                f"no judged queries in split {split!r} of {dataset.name} with documents in {location}: "
                f"{dict(pairs.report)}"
            )
        queries = len({example.query.id for example in pairs.examples})
        started = perf_counter()
        with progress("mining", queries) as task:
            miner = Miner(
                _search(retriever, mode, task),
                engine.get,
                source=SOURCES[mode],
                rank_window=config.rank_window,
                false_negative_margin=config.false_negative_margin,
                seed=config.seed,
            )
            found: Counter[str] = Counter()
            header = negatives_header(engine, str(location), SOURCES[mode], config)
            written = write_negatives(out, header, _counted(miner.mine(pairs.examples, pairs.positives), found))
        seconds = perf_counter() - started
    finally:
        retriever.close()
    return MineReport(
        file=str(out),
        queries=written,
        negatives=found["negatives"],
        seconds=seconds,
        queries_per_second=written / seconds,
        dropped=dict(miner.dropped),
        examples=dict(pairs.report),
    )


def held_out_hashes(dataset: Dataset, split: str) -> frozenset[str]:
    """Return the hashes of the query texts of all other splits, which must not be trained on."""
    from hybrid_search.types import text_hash

    others: Iterable[Query] = (q for other in dataset.splits() if other != split for q in dataset.queries(other))
    return frozenset(text_hash(query.text) for query in others)


def negatives_header(engine: Engine, index: str, source: NegativeSource, config: TrainConfig) -> Header:
    """Return how negatives were mined: index, ranking and rank window."""
    from hybrid_search.training.negatives.file import Header

    settings: IndexSettings = engine.settings
    bm25 = f"bm25 k1={settings.bm25.k1} b={settings.bm25.b}"
    return Header(
        source=source,
        index=index,
        documents=engine.count(),
        analyzer=settings.analyzer,
        ranking=bm25 if source == "bm25" else settings.fingerprint,
        rank_window=config.rank_window,
        false_negative_margin=config.false_negative_margin,
    )


def _search(retriever: Retriever, mode: MiningMode, task: Task) -> Search:
    def search(texts: Sequence[str], k: int) -> Sequence[Ranking]:
        rankings = retriever.rankings(texts, k, mode=mode)
        task.advance(len(texts))
        return rankings

    return search


def _counted(mined: Iterable[MinedQuery], found: Counter[str]) -> Iterator[MinedQuery]:
    for query in mined:
        found["negatives"] += len(query.negatives)
        yield query
