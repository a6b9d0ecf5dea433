"""Load a data set's documents into an index: encode, add, commit. Doing it again is harmless."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from hybrid_search.config import Bm25, FieldType, Fusion, IndexSettings
from hybrid_search.errors import IndexExists, ModelMismatch
from hybrid_search.protocols import Dataset, Encoder, Engine, Progress, silent
from hybrid_search.streams import in_batches
from hybrid_search.types import Document, Rejection
from hybrid_search.workflows.locations import create_index, drop_index, index_exists, open_encoder, open_engine

__all__ = ["LoadOptions", "LoadReport", "load"]

BATCH = 1_024
"""Documents encoded and added at a time: enough to sort by length, little enough to lose on Ctrl-C."""

COMMIT_EVERY = 16_384
"""Documents between commits: what a kill costs at most is read and encoded again by the next run."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a new index is told; None takes the model's fitted value, or the default where there is no model."""

    bm25: Bm25 | None = None
    fusion: Fusion | None = None
    faiss: str = "auto"
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
    :raises ModelMismatch: if the index was built with another model.
    :raises IndexExists: if the index exists with other settings than asked for.
    :raises IndexLocked: if another process is writing to the index.
    """
    options = options or LoadOptions()
    started = perf_counter()
    engine, encoder = _prepare(location, model, options)
    added = unchanged = rejected = 0
    try:
        with progress("indexing", None) as task:
            since_commit = 0
            for batch in in_batches(dataset.documents(), BATCH):
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
            seconds=perf_counter() - started,
            fingerprint=engine.settings.fingerprint,
            read=dict(dataset.report()),
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


def _prepare(location: str | Path, model: Path | None, options: LoadOptions) -> tuple[Engine, Encoder | None]:
    """Create or open the index, and open the towers that fit it."""
    from hybrid_search.towers.onnx_encoder import OnnxEncoder

    if options.recreate:
        drop_index(location)
    encoder = OnnxEncoder.load(model, threads=options.threads) if model else None
    if index_exists(location):
        engine = open_engine(location, writable=True)
        try:
            _check_same(engine.settings, encoder, options, location)
            encoder = encoder or open_encoder(engine, None, threads=options.threads)
            if model and engine.model_folder() is None:  # killed between making the index and storing the towers
                _store_towers(engine, model)
        except BaseException:
            engine.close()
            raise
        return engine, encoder
    return _create(location, encoder, model, options), encoder


def _create(location: str | Path, encoder: Encoder | None, model: Path | None, options: LoadOptions) -> Engine:
    from hybrid_search.towers.model_card import ServingDefaults, read_model_card

    defaults = read_model_card(model).defaults if model else ServingDefaults()
    settings = IndexSettings(
        fingerprint=encoder.fingerprint if encoder else "",
        dimension=encoder.dimension if encoder else 0,
        similarity=encoder.similarity if encoder else "cosine",
        bm25=options.bm25 or defaults.bm25,
        fusion=options.fusion or defaults.fusion,
        faiss=options.faiss,
        fields=dict(options.fields),
    )
    engine = create_index(location, settings)
    if model:
        _store_towers(engine, model)
    return engine


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
    asked = {"bm25": options.bm25, "fusion": options.fusion}
    for name, value in asked.items():
        if value is not None and value != getattr(settings, name):
            raise IndexExists(
                f"{location}: the index has {name} {getattr(settings, name)}, asked for {value}; {remedy}"
            )
