"""Loads a data set's documents into an index: encode, add, commit. Repeating a load is harmless."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Self, cast

from hybrid_search.analysis import analyzer_of, language_of, seen_in
from hybrid_search.engines.documents import sift
from hybrid_search.errors import DataError, HybridSearchError, IndexExists, ModelMismatch, UsageError
from hybrid_search.indexing import PassageCounts, index_corpus
from hybrid_search.loading.into_server import ServerLoad, ServerLoading, Totals
from hybrid_search.loading.journal import Journal, not_yet_there
from hybrid_search.loading.options import LoadOptions, check_options
from hybrid_search.opening import (
    create_index,
    drop_index,
    folder_of,
    has_towers,
    index_exists,
    is_on_server,
    missing_towers,
    model_of_new,
    open_encoder,
    open_engine,
    own_towers,
    store_towers,
)
from hybrid_search.protocols import Dataset, Encoder, Engine, Progress, Reporter, silent
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import IndexSettings
from hybrid_search.types import Document, Rejection

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch import OpenSearchEngine

__all__ = ["LoadOptions", "LoadReport", "ServerLoad", "load", "settings_of_new"]

_FIRST, _SEEN = 50, 2_000
"""Documents, and characters of each, that a new index's language is told by."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The result of a load. ``unchanged`` documents were in the index already, and were not encoded again.

    :ivar cut: number of added documents with more tokens than the towers read; the rest is found by BM25 alone.
    :ivar weights: of BM25 and k-NN, chosen by queries made of the documents; None if they were given, fitted with the
        model, or there were too few documents to make queries of.
    :ivar weighed_by: number of these queries.
    :ivar language: of the index, as in ``LoadOptions.language``.
    :ivar unknown: share of words of which the towers know no piece, in the first texts of a new index.
    :ivar server: rates and counts of a load into a server; empty for a folder. For a resumed load, ``resumed`` is the
        number of documents acknowledged before, and ``rejected_before`` how many of these the index rejected; the
        report's other counts are of the whole load.
    """

    location: str
    documents: int
    added: int
    unchanged: int
    rejected: int
    seconds: float
    fingerprint: str
    read: Mapping[str, int]
    server: Mapping[str, float] = field(default_factory=dict)
    cut: int = 0
    weights: tuple[float, float] | None = None
    weighed_by: int = 0
    language: str = ""
    unknown: float = 0.0


def load(
    dataset: Dataset,
    location: str | Path,
    *,
    model: Path | None = None,
    options: LoadOptions | None = None,
    reject: Callable[[Rejection], None] = lambda rejection: None,
    progress: Progress = silent,
) -> LoadReport:
    """Index every document of a data set, with vectors if a model is given or stored in the index.

    Into a folder it commits repeatedly, so a kill loses at most the documents since the last commit. On a server,
    acknowledged documents are durable, and become visible with the commit at the end. The next run continues: unchanged
    documents that are in the index are skipped; with ``options.server.resume`` acknowledged ones are not even compared.

    :param model: a checkpoint folder. None for the towers of the existing index, even if that is recreated; a new
        index needs a model, or ``options.lexical_only``.
    :param reject: called with each document that the index rejects.
    :raises ConfigError: if a setting is invalid; nothing has been changed then.
    :raises ModelMismatch: if the index was built with another model.
    :raises IndexExists: if the index has other settings than requested.
    :raises IndexLocked: if another process is writing to the index.
    :raises ModelNotFound: if an index with vectors is to be recreated, but has no towers and none are given.
    :raises DataError: if a new or recreated index would contain no document (it is not created then), or if the load to
        be resumed had other documents.
    :raises UsageError: if options contradict each other, there is neither a model for a new index nor
        ``lexical_only``, or the load can't be resumed.
    """
    options = options or LoadOptions()
    from hybrid_search.towers.coverage import Words, unknown_share

    started = perf_counter()
    check_options(location, options)
    exists = index_exists(location)
    if exists and options.recreate and model is None and not options.lexical_only:
        model = own_towers(location)
    elif not exists:
        model = model_of_new(location, model, lexical_only=options.lexical_only)
    new = _New.prepared(model, options)
    documents, unknown = dataset.documents(), 0.0
    if options.recreate or not exists:
        documents, first = _with_first(documents, dataset, location)
        taken = sift(first, None, new.settings.fields).positions  # others are rejected when their turn comes
        texts = [first[place].searchable_text[:_SEEN] for place in taken]
        unknown = unknown_share(Words.of(model), texts) if model else 0.0
        if options.language is None:
            language = seen_in(texts)
            new = replace(new, settings=new.settings.replace(analyzer=analyzer_of(language)))
    with _target(location, recreate=options.recreate) as target:
        journal = Journal(str(target), f"{dataset.name} {options.server.source}".strip())
        with _not_left_empty(target, dataset.name, aside=target != location) as check:
            report = _load(documents, target, new, options, journal, Reporter(progress, reject=reject))
            check(report)
    read, seconds = dict(dataset.report()), perf_counter() - started
    return replace(report, location=str(location), seconds=seconds, read=read, unknown=round(unknown, 3))


@dataclass(frozen=True, slots=True)
class _New:
    """The given model, and the settings of a new index with it."""

    model: Path | None
    encoder: Encoder | None
    settings: IndexSettings
    weigh: bool = False

    @classmethod
    def prepared(cls, model: Path | None, options: LoadOptions) -> Self:
        from hybrid_search.towers.model_card import ServingDefaults, read_model_card
        from hybrid_search.towers.onnx.encoder import OnnxEncoder

        if model and options.lexical_only:
            raise UsageError(
                f"lexical_only=True makes an index without vectors, and {model} would make them; give one of both"
            )
        encoder = OnnxEncoder.load(model, threads=options.threads) if model else None
        defaults = read_model_card(model).defaults if model else ServingDefaults()
        settings = IndexSettings(
            fingerprint=encoder.fingerprint if encoder else "",
            dimension=encoder.dimension if encoder else 0,
            similarity=encoder.similarity if encoder else "cosine",
            bm25=options.bm25 or defaults.bm25,
            fusion=options.fusion or defaults.fusion,
            faiss="auto" if options.faiss is None else options.faiss,
            fields=dict(options.fields),
            analyzer=analyzer_of(options.language or "en"),
        )
        return cls(model, encoder, settings, weigh=defaults.weigh and options.fusion is None)


def settings_of_new(model: Path | None, options: LoadOptions) -> IndexSettings:
    """Return the settings of an index that :func:`load` would create.

    :raises ConfigError: if a setting is invalid.
    """
    return _New.prepared(model, options).settings


def create(location: str | Path, model: Path | None, language: str | None = None) -> Retriever:
    """Create an empty index with the towers of a model, and open it to write.

    :param language: as in :class:`LoadOptions`; None for English.

    :raises IndexExists: if there is an index.
    """
    if index_exists(location):
        raise IndexExists(f"{location}: there is an index already; open it, or drop it first")
    new = _New.prepared(model, LoadOptions(language=language))
    try:
        engine, encoder = _opened(location, new, LoadOptions())
    except IndexExists:  # another process was quicker
        raise
    except BaseException:
        drop_index(location)
        raise
    return Retriever(encoder, engine)


def _with_first(
    documents: Iterator[Document], dataset: Dataset, location: str | Path
) -> tuple[Iterator[Document], list[Document]]:
    """Return all documents again, and the first of them."""
    first = list(islice(documents, _FIRST))
    if not first:
        raise DataError(f"{dataset.name}: the data set has no documents, so {location} stays as it was; check the path")
    return chain(first, documents), first


@contextlib.contextmanager
def _target(location: str | Path, *, recreate: bool) -> Iterator[str | Path]:
    """Yield the location to load to; if an index is recreated, a temporary one that replaces it when the block ends."""
    if not recreate:
        yield location
    elif is_on_server(location):
        drop_index(location)
        yield location
    else:
        from hybrid_search.engines.embedded import replacement

        with replacement(folder_of(location)) as folder:
            yield folder


@contextlib.contextmanager
def _not_left_empty(location: str | Path, name: str, *, aside: bool) -> Iterator[Callable[[LoadReport], None]]:
    """Drop an index that the block created if it ends without a document.

    :param aside: the index is to replace another one, which is kept then.

    :return: to be called with the report; raises if a new index contains no document.
    """
    made = not index_exists(location)

    def check(report: LoadReport) -> None:
        if made and not report.documents:
            why = "the data set gave no document; check the path"
            if report.rejected:
                why = "none of its documents could be indexed; look at the rejected ones"
            raise DataError(f"{name}: {why}" if aside else f"{name}: {why}; no index was made")

    try:
        yield check
    except BaseException:
        if made and not aside:
            with contextlib.suppress(HybridSearchError):
                _drop_if_empty(location)
        raise


def _drop_if_empty(location: str | Path) -> None:
    with contextlib.closing(open_engine(location, writable=True)) as engine:
        engine.commit()  # on a server, documents may not be counted before that
        empty = not engine.count()
    if empty:
        drop_index(location)


def _load(
    documents: Iterator[Document],
    location: str | Path,
    new: _New,
    options: LoadOptions,
    journal: Journal,
    reporter: Reporter,
) -> LoadReport:
    from hybrid_search.training.fit.made import sampling, weigh_legs

    was_there = index_exists(location)
    engine, encoder = _opened(location, new, options)
    counts = PassageCounts()
    sampled: list[Document] = []
    if was_there:
        documents = counts.watching(documents)
    elif new.weigh:
        documents = sampling(documents, sampled)
    cut_before = _cut_by(encoder)
    try:
        if is_on_server(location):
            on_server = cast("OpenSearchEngine", engine)
            loading = ServerLoading(on_server, encoder, options.server, journal, reporter, options.total)
            totals = loading.run(documents)
        else:
            totals = _in_turn(documents, engine, encoder, options.total, reporter)
        counts.remove_stale(engine)
        cut = _cut_by(encoder) - cut_before
        weighed = weigh_legs(engine, encoder, sampled, reporter.progress) if sampled and encoder else None
        return LoadReport(
            location=str(location),
            documents=engine.count(),
            added=totals.added,
            unchanged=totals.unchanged,
            rejected=totals.rejected,
            seconds=0.0,
            fingerprint=engine.settings.fingerprint,
            read={},
            server=totals.server,
            cut=cut,
            language=language_of(engine.settings.analyzer),
            weights=weighed.fusion.weights if weighed else None,
            weighed_by=weighed.queries if weighed else 0,
        )
    finally:
        engine.close()


def _cut_by(encoder: Encoder | None) -> int:
    return int(getattr(encoder, "documents_cut", 0))  # other encoders than this package's towers don't count


def _in_turn(
    documents: Iterator[Document],
    engine: Engine,
    encoder: Encoder | None,
    total: int | None,
    reporter: Reporter,
) -> Totals:
    """Encode and add one batch after the other, with a commit from time to time."""
    added = unchanged = rejected = 0
    with reporter.progress("indexing", total) as task:
        for batch in index_corpus(engine, encoder, documents, only_new=partial(not_yet_there, engine)):
            for rejection in batch.rejected:
                reporter.reject(rejection)
            added += batch.new - len(batch.rejected)
            rejected += len(batch.rejected)
            unchanged += batch.read - batch.new
            task.advance(batch.read)
    return Totals(added, unchanged, rejected, {})


def _opened(location: str | Path, new: _New, options: LoadOptions) -> tuple[Engine, Encoder | None]:
    """Create or open the index, and open the towers that fit it."""
    if not index_exists(location):
        engine = create_index(location, new.settings, options.layout, new.model)
        try:
            if new.model:
                store_towers(engine, new.model)
            _tell_server(engine, options)
        except BaseException:
            engine.close()
            raise
        return engine, new.encoder
    engine = open_engine(location, writable=True)
    try:
        _check_same(engine.settings, new.encoder, options, location)
        encoder = new.encoder or open_encoder(engine, None, threads=options.threads)
        if encoder is None and engine.settings.dimension:
            raise missing_towers(location, engine.settings.fingerprint)
        if new.model and not has_towers(engine):
            store_towers(engine, new.model)
        _tell_server(engine, options)
    except BaseException:
        engine.close()
        raise
    return engine, encoder


def _tell_server(engine: Engine, options: LoadOptions) -> None:
    """Check the server's options of the index, and store the pipeline."""
    if options.layout.asked():
        cast("OpenSearchEngine", engine).check_options(options.layout)
    if options.pipeline:
        cast("OpenSearchEngine", engine).store_pipeline(options.pipeline, as_default=options.default_pipeline)


def _check_same(settings: IndexSettings, encoder: Encoder | None, options: LoadOptions, location: str | Path) -> None:
    """Refuse to add to an index that was made with another model or with other settings than requested."""
    remedy = "load into another location, or rebuild this one with recreate=True"
    if is_on_server(location):
        remedy = f"make the next index of an alias with alias=NAME, {remedy}"
    if options.lexical_only and settings.dimension:
        raise IndexExists(
            f"{location}: the index holds vectors of model {settings.fingerprint[:12]}, asked for one without; leave "
            f"lexical_only=True out, or {remedy}"
        )
    if encoder is not None and encoder.fingerprint != settings.fingerprint:
        existing = settings.fingerprint[:12] or "no vectors"
        raise ModelMismatch(
            f"{location}: the index holds {existing}, the model given is {encoder.fingerprint[:12]}; {remedy}"
        )
    if options.language not in (None, language := language_of(settings.analyzer)):
        raise IndexExists(f"{location}: the index has language {language}, asked for {options.language}; {remedy}")
    requested = {"bm25": options.bm25, "fusion": options.fusion, "faiss": options.faiss}
    for name, value in requested.items():
        if value is not None and value != getattr(settings, name):
            raise IndexExists(
                f"{location}: the index has {name} {getattr(settings, name)}, asked for {value}; {remedy}"
            )
