"""Load a data set's documents into an index: encode, add, commit. Doing it again is harmless."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Self

from hybrid_search.config import Bm25, FieldType, Fusion, IndexSettings
from hybrid_search.errors import DataError, IndexExists, ModelMismatch
from hybrid_search.protocols import Dataset, Encoder, Engine, Progress, silent
from hybrid_search.streams import in_batches
from hybrid_search.types import Document, Rejection
from hybrid_search.workflows.locations import (
    create_index,
    drop_index,
    folder_of,
    index_exists,
    is_on_server,
    open_encoder,
    open_engine,
)

__all__ = ["LoadOptions", "LoadReport", "load"]

BATCH = 1_024
"""Documents encoded and added at a time: enough to sort by length, little enough to lose on Ctrl-C."""

COMMIT_EVERY = 16_384
"""Documents between commits: what a kill costs at most is read and encoded again by the next run."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a new index is told; None takes the model's fitted value, or the default where there is none.

    :ivar recreate: build the index anew. One in a folder is replaced when the load has succeeded, and is as it was
        when it has not; one on a server is deleted when the arguments have been checked and there are documents.
    """

    bm25: Bm25 | None = None
    fusion: Fusion | None = None
    faiss: str | None = None
    fields: Mapping[str, FieldType] = field(default_factory=dict)
    recreate: bool = False
    threads: int = 0


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did. ``unchanged`` documents were already there, word for word, and were not encoded again."""

    location: str
    documents: int
    added: int
    unchanged: int
    rejected: int
    seconds: float
    fingerprint: str
    read: Mapping[str, int]


def load(
    dataset: Dataset,
    location: str | Path,
    *,
    model: Path | None = None,
    options: LoadOptions | None = None,
    reject: Callable[[Rejection], None] = lambda rejection: None,
    progress: Progress = silent,
) -> LoadReport:
    """Index every document of a data set, with vectors where a model is given or the index carries one.

    Commits as it goes, so a kill loses at most the documents since the last commit, and the next run takes up where
    this one stopped: documents that are there already, unchanged, are skipped.

    :param model: a checkpoint folder. None: the towers of the existing index; a new index is then lexical only.
    :param reject: called with each document that the index refuses.
    :raises ConfigError: if a setting is not one; nothing has been changed then.
    :raises ModelMismatch: if the index was built with another model.
    :raises IndexExists: if the index exists with other settings than asked for.
    :raises IndexLocked: if another process is writing to the index.
    :raises DataError: if an index was to be recreated and no document came in.
    """
    options = options or LoadOptions()
    started = perf_counter()
    new = _New.prepared(model, options)
    batches = in_batches(dataset.documents(), BATCH)
    if options.recreate:
        batches = _with_a_first(batches, dataset, location)
    with _place(location, recreate=options.recreate) as place:
        report = _load(batches, place, new, options, reject=reject, progress=progress)
        if options.recreate and not report.documents:
            raise DataError(f"{dataset.name}: none of its documents could be indexed; look at the rejected ones")
    return replace(report, location=str(location), seconds=perf_counter() - started, read=dict(dataset.report()))


@dataclass(frozen=True, slots=True)
class _New:
    """The model given, and what an index that is made with it is told."""

    model: Path | None
    encoder: Encoder | None
    settings: IndexSettings

    @classmethod
    def prepared(cls, model: Path | None, options: LoadOptions) -> Self:
        from hybrid_search.towers.model_card import ServingDefaults, read_model_card
        from hybrid_search.towers.onnx_encoder import OnnxEncoder

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
        )
        return cls(model, encoder, settings)


def _with_a_first(
    batches: Iterator[list[Document]], dataset: Dataset, location: str | Path
) -> Iterator[list[Document]]:
    first = next(batches, None)
    if first is None:
        raise DataError(f"{dataset.name}: the data set has no documents, so {location} stays as it was; check the path")
    return chain([first], batches)


@contextlib.contextmanager
def _place(location: str | Path, *, recreate: bool) -> Iterator[str | Path]:
    """Say where to load to: aside of an index that is to be recreated, whose place is taken when the block ends."""
    if not recreate:
        yield location
    elif is_on_server(location):
        drop_index(location)
        yield location
    else:
        from hybrid_search.engines.embedded import replacement

        with replacement(folder_of(location)) as folder:
            yield folder


def _load(
    batches: Iterator[list[Document]],
    location: str | Path,
    new: _New,
    options: LoadOptions,
    *,
    reject: Callable[[Rejection], None],
    progress: Progress,
) -> LoadReport:
    engine, encoder = _opened(location, new, options)
    added = unchanged = rejected = 0
    try:
        with progress("indexing", None) as task:
            since_commit = 0
            for batch in batches:
                fresh = _not_yet_there(engine, batch)
                refused = _add(engine, encoder, fresh)
                for rejection in refused:
                    reject(rejection)
                added += len(fresh) - len(refused)
                rejected += len(refused)
                unchanged += len(batch) - len(fresh)
                since_commit += len(fresh)
                if since_commit >= COMMIT_EVERY:
                    engine.commit()
                    since_commit = 0
                task.advance(len(batch))
            engine.commit()
        return LoadReport(
            location=str(location),
            documents=engine.count(),
            added=added,
            unchanged=unchanged,
            rejected=rejected,
            seconds=0.0,
            fingerprint=engine.settings.fingerprint,
            read={},
        )
    finally:
        engine.close()


def _not_yet_there(engine: Engine, batch: Sequence[Document]) -> list[Document]:
    stored = engine.get([document.id for document in batch])
    return [document for document, known in zip(batch, stored, strict=True) if known != document]


def _add(engine: Engine, encoder: Encoder | None, documents: Sequence[Document]) -> list[Rejection]:
    if not documents:
        return []
    vectors = encoder.encode_documents([d.searchable_text for d in documents]) if encoder else None
    return engine.add(documents, vectors)


def _opened(location: str | Path, new: _New, options: LoadOptions) -> tuple[Engine, Encoder | None]:
    """Create or open the index, and open the towers that fit it."""
    if not index_exists(location):
        engine = create_index(location, new.settings)
        try:
            if new.model:
                _store_towers(engine, new.model)
        except BaseException:
            engine.close()
            raise
        return engine, new.encoder
    engine = open_engine(location, writable=True)
    try:
        _check_same(engine.settings, new.encoder, options, location)
        encoder = new.encoder or open_encoder(engine, None, threads=options.threads)
        if new.model and engine.model_folder() is None:  # killed between making the index and storing the towers
            _store_towers(engine, new.model)
    except BaseException:
        engine.close()
        raise
    return engine, encoder


def _store_towers(engine: Engine, model: Path) -> None:
    from hybrid_search.towers.model_card import SERVING_FILES

    engine.store_model([model / name for name in SERVING_FILES])


def _check_same(settings: IndexSettings, encoder: Encoder | None, options: LoadOptions, location: str | Path) -> None:
    """Refuse to add to an index that was made with another model or with settings other than those asked for."""
    remedy = "load into another location, or rebuild this one with --recreate"
    if encoder is not None and encoder.fingerprint != settings.fingerprint:
        held = settings.fingerprint[:12] or "no vectors"
        raise ModelMismatch(
            f"{location}: the index holds {held}, the model given is {encoder.fingerprint[:12]}; {remedy}"
        )
    asked = {"bm25": options.bm25, "fusion": options.fusion, "faiss": options.faiss}
    for name, value in asked.items():
        if value is not None and value != getattr(settings, name):
            raise IndexExists(
                f"{location}: the index has {name} {getattr(settings, name)}, asked for {value}; {remedy}"
            )
