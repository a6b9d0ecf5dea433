"""Rounds after the first: negatives mined again with the towers and the hybrid from an index of them, then trained on.

As ANCE does (Xiong et al. 2021), with a pause between mining and training instead of both at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.errors import ConfigError, TrainingError
from hybrid_search.indexing import index_corpus
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.search import Mode
from hybrid_search.settings.index import Fusion, IndexSettings
from hybrid_search.settings.training import NegativeSource, TrainConfig
from hybrid_search.towers.checkpoint import load_towers
from hybrid_search.towers.onnx.encoder import OnnxEncoder
from hybrid_search.training.fit.defaults import FitReport
from hybrid_search.training.hard_negatives import collect_negatives
from hybrid_search.training.mine import negatives_header
from hybrid_search.training.negatives.file import read_header, write_negatives
from hybrid_search.training.negatives.miner import MinedQuery, Miner
from hybrid_search.training.run import Round, TrainingRun
from hybrid_search.training.start import RATE
from hybrid_search.training.teacher.scores import TeacherJudge, TeacherScores, scores_of
from hybrid_search.training.teacher.vectors import Teaching
from hybrid_search.training.tracking import ShiftedTracker
from hybrid_search.types import Example, Ranking

__all__ = ["Refreshing", "best_of", "check_refresh", "settings_of_round"]

"""Batches: vectors join the k-NN index part by part, so that few are held twice."""

_CONTRAST = ("batch_size", "learning_rate", "embedding_learning_rate", "epochs", "evaluate_every", "patience")
"""Settings that a recipe with loss ``align`` sets for that loss; its later rounds use the defaults instead."""

_CANDIDATES = 4
"""Least mined documents per query in a step that distils scores, as a single one says little."""

_TAKES_NEGATIVES = ("infonce", "triplet", "contrastive")


def check_refresh(config: TrainConfig, training: Sequence[Example]) -> None:
    """Check that there are labelled queries to mine for, and that the loss uses mined negatives.

    :raises ConfigError: if the loss takes its negatives from a teacher's scores.
    :raises TrainingError: if there are no labelled queries.
    """
    if not config.refresh:
        return
    if config.loss not in (*_TAKES_NEGATIVES, "align"):
        losses = ", ".join(_TAKES_NEGATIVES)
        raise ConfigError(
            f"refresh is {config.refresh} with loss {config.loss!r}, whose negatives are those that a teacher scored; "
            f"use {losses}, or align, whose later rounds use training.refresh_loss"
        )
    if not training:
        raise TrainingError("refresh mines negatives for labelled queries, and this data has none; leave it out")


def settings_of_round(config: TrainConfig, number: int) -> TrainConfig:
    """Return the settings of a round after the first.

    Half of the hard negatives are the ones mined again, the others come from where the run's last stage took them. All
    of the tower is trained from the first step, at lower rates, with draws of its own. Where a teacher's scores are
    followed there are no false negatives, so what is mined starts at rank 1.
    """
    follows = config.refresh_loss != "infonce"
    if config.loss == "align":
        plain = TrainConfig()
        contrast = {name: getattr(plain, name) for name in _CONTRAST}
        scores, window = (config.teacher, (1, config.rank_window[1])) if follows else ("", config.rank_window)
        config = config.replace(
            loss=config.refresh_loss, refresh=0, refresh_loss="infonce", teacher="", teacher_scores=scores,
            rank_window=window, word_vectors=plain.word_vectors, **contrast,
        )  # fmt: skip
    last = {source: share for source, share in config.negatives[-1][1].items() if source != "dense"}
    mix: dict[NegativeSource, float] = {"dense": 0.5 if last else 1.0}
    mix |= {source: 0.5 * share / sum(last.values()) for source, share in last.items()}
    return config.replace(
        negatives=((0.0, mix),),
        hard_negatives=max(_CANDIDATES if follows else 1, config.hard_negatives),
        residual_share=0.0,
        learning_rate=RATE * config.learning_rate,
        embedding_learning_rate=RATE * config.embedding_learning_rate,
        seed=config.seed + 1_000 * number,
    )


def best_of(rounds: Sequence[Round]) -> Round:
    """Return the round with the best hybrid; of equals the one with the best towers, then the earliest.

    Without validation queries, the last round.
    """
    if not rounds[-1].fit.validation:
        return rounds[-1]
    return max(rounds, key=lambda each: (each.fit.validation["hybrid"], each.fit.validation["knn"]))


class Refreshing:
    """Mines negatives, trains and measures, round by round.

    The negatives and the state of a round stay in its folder, from which an interrupted run continues.
    """

    def __init__(self, run: TrainingRun, negatives_files: Sequence[Path], teaching: Teaching | None) -> None:
        self._run = run
        self._files = [file for file in negatives_files if read_header(file).source != "dense"]
        self._teaching = teaching
        self._dropped: Counter[str] = Counter()

    def rounds(self, first: Round) -> Iterator[Round]:
        """Yield the rounds after the first, until one does not improve or all are done."""
        config, say = self._run.config, self._run.reporter.say
        previous, steps = first, first.report.steps
        say(_told(first))
        for number in range(1, config.refresh + 1):
            previous = self._round(number, previous, steps)
            steps += previous.report.steps
            say(_told(previous))
            yield previous
            if previous.report.best_step == 0 and number < config.refresh:
                say(f"round {number} kept the weights that it began with; another would bring the same, so this is all")
                return

    def _round(self, number: int, previous: Round, steps: int) -> Round:
        run, folder = self._run, self._run.work.path / f"round-{number}"
        config = settings_of_round(run.config, number)
        self._dropped = Counter()
        mined = self._mined(folder, previous, config)
        negatives = collect_negatives(
            run.engine, run.split.pairs, run.split.training, config,
            work=run.work, files=[*self._files, *mined], reporter=run.reporter,
        )  # fmt: skip
        towers, _, _ = load_towers(previous.model)
        tracker = ShiftedTracker(run.tracker, steps=steps, number=number)
        data = run.data(config, negatives, teacher=self._scores(config, negatives["dense"]))
        report, fit = run.train(towers, data, config, folder, tracker=tracker)
        count = sum(map(len, negatives["dense"].values()))
        return Round(number, folder / "model", report, fit, count, dict(self._dropped))

    def _mined(self, folder: Path, previous: Round, config: TrainConfig) -> list[Path]:
        """Return files of negatives mined by the towers and, if the towers have a weight in it, by the hybrid."""
        modes: list[Mode] = ["knn", "hybrid"] if previous.fit.defaults.fusion.weights[1] else ["knn"]
        files = {mode: folder / f"negatives-{mode}.jsonl" for mode in modes}
        if not all(file.exists() for file in files.values()):
            with self._indexed(folder / "index", previous.model, previous.fit) as retriever:
                for mode, file in files.items():
                    self._mine(retriever, mode, file, config)
            EmbeddedEngine.drop(folder / "index")
        return list(files.values())

    def _mine(self, retriever: Retriever, mode: Mode, file: Path, config: TrainConfig) -> None:
        run = self._run
        queries = len({example.query.id for example in run.split.training})
        with run.reporter.progress(f"mining negatives again ({mode})", queries) as task:

            def search(texts: Sequence[str], k: int) -> Sequence[Ranking]:
                rankings = retriever.rankings(texts, k, mode=mode)
                task.advance(len(texts))
                return rankings

            miner = Miner(
                search,
                run.engine.get,
                source="dense",
                rank_window=config.rank_window,
                # The teacher's vectors recognise false negatives better than the towers' scores do.
                false_negative_margin=0.0 if self._teaching else config.false_negative_margin,
                judge=self._judge(config),
                seed=config.seed,
            )
            header = negatives_header(retriever.engine, f"the training corpus, {mode}", "dense", config)
            mined: Iterator[MinedQuery] = miner.mine(run.split.training, run.split.pairs.positives)
            write_negatives(file, header, mined)
        self._dropped.update(miner.dropped)

    def _judge(self, config: TrainConfig) -> TeacherJudge | None:
        if self._teaching is None or not config.false_negative_margin or config.teacher_scores:
            return None
        lessons = self._teaching.lessons(self._run.vocabulary.tokenizer)
        return TeacherJudge(lessons.vectors_of, config.false_negative_margin)

    def _scores(self, config: TrainConfig, mined: Mapping[str, Sequence[str]]) -> TeacherScores | None:
        """Score the mined documents by the teacher's vectors, if the round's loss uses scores."""
        if self._teaching is None or not config.teacher_scores:
            return None
        lessons = self._teaching.lessons(self._run.vocabulary.tokenizer)
        return scores_of(
            lessons.vectors_of, self._run.split.training, mined, self._run.engine.get, temperature=config.temperature
        )

    def _indexed(self, folder: Path, model: Path, fit: FitReport) -> Retriever:
        """Index the corpus with a round's towers and fitted defaults; closing the retriever closes the index."""
        run, encoder = self._run, OnnxEncoder.load(model)
        EmbeddedEngine.drop(folder)
        fusion: Fusion = fit.defaults.fusion
        settings = IndexSettings(
            fingerprint=encoder.fingerprint, dimension=encoder.dimension, similarity=encoder.similarity,
            bm25=fit.defaults.bm25, fusion=fusion,
        )  # fmt: skip
        folder.parent.mkdir(parents=True, exist_ok=True)
        retriever = Retriever(encoder, EmbeddedEngine.create(folder, settings))
        with run.reporter.progress("indexing with the towers so far", run.engine.count()) as task:
            for batch in index_corpus(retriever.engine, encoder, run.engine.documents()):
                task.advance(batch.read)
        return retriever


def _told(each: Round) -> str:
    values = each.fit.validation
    systems = {"knn": "towers", "hybrid": "hybrid", "bm25": "BM25"}
    measured = ", ".join(f"{name} {values[key]:.4f}" for key, name in systems.items() if key in values)
    mined = f"; {each.negatives:,} negatives mined again" if each.number else ""
    dropped = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in (each.dropped or {}).items() if count)
    return (
        f"round {each.number}: validation nDCG@10 {measured or 'none'}; best step {each.report.best_step} of "
        f"{each.report.steps}{mined}" + (f", taken for false ones: {dropped}" if dropped else "")
    )
