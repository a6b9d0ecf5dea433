"""Loads a data set's documents into an index: encode, add, commit. Repeating a load is harmless."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, cast

from hybrid_search.analysis import analyzer_of, language_of, seen_in
from hybrid_search.engines.documents import sift
from hybrid_search.errors import DataError, HybridSearchError, SearchIndexError
from hybrid_search.indexing import PassageCounts, index_corpus
from hybrid_search.loading.into_server import ServerLoad, ServerLoading, Totals
from hybrid_search.loading.journal import Journal, not_yet_there
from hybrid_search.loading.options import LoadOptions, check_options
from hybrid_search.loading.sources import in_types
from hybrid_search.loading.target import NewIndex, not_left_empty, opened, options_of_next, target_of
from hybrid_search.opening import index_exists, is_on_server, model_of_new, open_engine, own_towers
from hybrid_search.protocols import Dataset, Encoder, Engine, Progress, Reporter, silent
from hybrid_search.settings.index import FieldType
from hybrid_search.types import Document, Rejection

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch import OpenSearchEngine
    from hybrid_search.loading.gate import Gate

__all__ = ["LoadOptions", "LoadReport", "ServerLoad", "load", "texts_of", "with_first"]

_FIRST, _SEEN = 50, 2_000
"""Documents, and characters of each, that a new index's language is told by."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The result of a load. ``unchanged`` documents were in the index already, and were not encoded again.

    :ivar cut: number of added documents with more tokens than the towers read; the rest is found by BM25 alone.
    :ivar weights: of BM25 and k-NN, as the index has them now; None for an index without vectors.
    :ivar weighed_by: number of queries made of the documents by which this load chose them; 0 if it did not.
    :ivar not_weighed: why weights were not chosen although that was due; the next load does it then.
    :ivar language: of the index, as in ``LoadOptions.language``.
    :ivar taken_over: what a new index has from the one that it replaces, as that was declared with it.
    :ivar absent: metadata fields that the options declare and no document of this load has.
    :ivar in_pieces: share of words that the towers read in pieces, in the first texts of a new index.
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
    not_weighed: str = ""
    language: str = ""
    taken_over: Sequence[str] = ()
    absent: Sequence[str] = ()
    in_pieces: float = 0.0
    unknown: float = 0.0


def load(
    dataset: Dataset,
    location: str | Path,
    *,
    model: Path | None = None,
    options: LoadOptions | None = None,
    reject: Callable[[Rejection], None] = lambda rejection: None,
    progress: Progress = silent,
    gate: Gate | None = None,
) -> LoadReport:
    """Index every document of a data set, with vectors if a model is given or stored in the index.

    Into a folder it commits repeatedly, so a kill loses at most the documents since the last commit. On a server,
    acknowledged documents are durable, and become visible with the commit at the end. The next run continues: unchanged
    documents that are in the index are skipped; with ``options.server.resume`` acknowledged ones are not even compared.

    :param model: a checkpoint folder. None for the towers of the existing index, even if that is recreated; a new
        index needs a model, or ``options.lexical_only``.
    :param reject: called with each document that the index rejects.
    :param gate: how an index that replaces one in a folder (``options.recreate``) is compared with it before it does.
    :raises SearchIndexError: if it does not pass; the one that is there stays.
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
    from hybrid_search.towers.coverage import MOSTLY, Words, unlike_words

    started = perf_counter()
    check_options(location, options)
    exists = index_exists(location)
    if exists and options.recreate and model is None and not options.lexical_only:
        model = own_towers(location)
    elif not exists:
        model = model_of_new(location, model, lexical_only=options.lexical_only)
    asked, taken = options, tuple[str, ...]()
    if exists and options.recreate:
        options, taken = options_of_next(location, model, options)
    new, absent = NewIndex.prepared(model, options), set(options.fields)
    documents, unlike = _without(absent, in_types(dataset.documents(), options.beyond(asked))), (0.0, 0.0)
    if options.recreate or not exists:
        documents, first = with_first(documents)
        if not first:
            so = f"{location} stays as it was" if exists else "no index was made"
            raise DataError(f"{dataset.name}: the data set has no documents, so {so}; {_why_none(dataset.report())}")
        texts = texts_of(first, new.settings.fields)
        unlike = unlike_words(Words.of(model), texts) if model else unlike
        if sum(unlike) > MOSTLY and not new.settings.weighed:  # made queries would tell nothing, either
            fusion = new.settings.fusion.replace(weights=(0.9, 0.1))
            new = replace(new, settings=new.settings.replace(fusion=fusion, weighed=True))
        if options.language is None:
            language = seen_in(texts)
            new = replace(new, settings=new.settings.replace(analyzer=analyzer_of(language)))
    aside = exists and options.recreate and not is_on_server(location)
    try:
        with target_of(location, recreate=options.recreate) as target:
            journal = Journal(str(target), f"{dataset.name} {options.server.source}".strip())
            with not_left_empty(target, dataset.name, aside=aside) as check:
                report = _load(documents, target, new, options, journal, Reporter(progress, reject=reject))
                check(report.documents, report.rejected)
            if gate is not None and aside:
                _pass(gate, location, target)
    except KeyboardInterrupt as interruption:
        interruption.add_note(_kept(location, aside=aside))
        raise
    read, seconds = dict(dataset.report()), perf_counter() - started
    in_pieces, unknown = (round(share, 3) for share in unlike)
    report = replace(report, taken_over=taken, absent=sorted(absent))
    return replace(report, location=str(location), seconds=seconds, read=read, in_pieces=in_pieces, unknown=unknown)


def _why_none(read: Mapping[str, int]) -> str:
    passed_over = {name.removeprefix("not_read_"): n for name, n in read.items() if name.startswith("not_read_") and n}
    files = ", ".join(f"{what}: {number:,}" for what, number in passed_over.items())
    return f"its files were not read ({files})" if files else "check the path"


def _without(absent: set[str], documents: Iterator[Document]) -> Iterator[Document]:
    """Yield the documents unchanged; take the names of their metadata out of a set."""
    for document in documents:
        if absent and isinstance(document.metadata, Mapping):
            absent.difference_update(document.metadata)
        yield document


def _kept(location: str | Path, *, aside: bool) -> str:
    """Say what an interrupted load has left.

    :param aside: it was building anew, beside what is there.
    """
    with suppress(HybridSearchError):
        if index_exists(location):
            if aside:
                return f"{location} is as it was"
            if is_on_server(location):
                return f"{location} keeps what it has acknowledged; the next load into it goes on after that"
            with closing(open_engine(location)) as engine:
                return f"{location} holds {engine.count():,} documents; the next load into it goes on after them"
    return f"{location}: nothing was kept"


def with_first(documents: Iterator[Document]) -> tuple[Iterator[Document], list[Document]]:
    """Return all documents again, and the first of them."""
    first = list(islice(documents, _FIRST))
    return chain(first, documents), first


def texts_of(first: list[Document], declared: Mapping[str, FieldType]) -> list[str]:
    """Return how the first documents begin; those that no index takes are rejected when their turn comes."""
    return [one.searchable_text[:_SEEN] for one in sift(first, None, declared).documents]


def _pass(gate: Gate, live: str | Path, candidate: str | Path) -> None:
    from hybrid_search.loading.gate import in_folders

    if failed := [check for check in in_folders(live, candidate, gate) if not check.passed]:
        reasons = "; ".join(f"{check.name}: {check.told}" for check in failed)
        raise SearchIndexError(f"what was built anew is not fit to replace {live}: {reasons}")


def _load(
    documents: Iterator[Document],
    location: str | Path,
    new: NewIndex,
    options: LoadOptions,
    journal: Journal,
    reporter: Reporter,
) -> LoadReport:
    from hybrid_search.training.fit.made import Weighing

    was_there = index_exists(location)
    engine, encoder = opened(location, new, options)
    counts = PassageCounts()
    weighing = Weighing(engine, encoder, later=not options.weigh)
    if was_there:
        documents = counts.watching(documents)
    documents = weighing.watching(documents)
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
        fit, why_not = weighing.done(reporter.progress)
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
            weights=(fit.fusion if fit else engine.settings.fusion).weights if encoder else None,
            weighed_by=fit.queries if fit else 0,
            not_weighed=why_not,
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
