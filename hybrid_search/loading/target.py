"""The index that is loaded into: created or opened with the towers that fit, and dropped again if it stays empty."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from hybrid_search.analysis import analyzer_of, language_of
from hybrid_search.engines.documents import check_declared
from hybrid_search.errors import DataError, HybridSearchError, IndexExists, ModelMismatch, UsageError
from hybrid_search.loading.options import LoadOptions, taken_over, told
from hybrid_search.opening import (
    create_index,
    drop_index,
    folder_of,
    has_towers,
    index_exists,
    is_on_server,
    missing_towers,
    open_encoder,
    open_engine,
    store_towers,
)
from hybrid_search.protocols import Encoder, Engine
from hybrid_search.retrieval.retriever import Retriever
from hybrid_search.settings.index import Bm25, FieldType, IndexSettings
from hybrid_search.settings.server import ServerOptions

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch import OpenSearchEngine

__all__ = ["NewIndex", "create", "not_left_empty", "opened", "options_of_next", "settings_of_new", "target_of"]


@dataclass(frozen=True, slots=True)
class NewIndex:
    """The given model, and the settings of a new index with it."""

    model: Path | None
    encoder: Encoder | None
    settings: IndexSettings

    @classmethod
    def prepared(cls, model: Path | None, options: LoadOptions) -> Self:
        """Open the model, and choose the settings: given ones before the model's own, and those before the defaults."""
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
            weighed=not defaults.weigh or options.fusion is not None,
            declared=_declared(options),
        )
        return cls(model, encoder, settings)


def _declared(options: LoadOptions) -> tuple[str, ...]:
    names = [name for name in ("language", "bm25", "fusion", "faiss") if getattr(options, name) is not None]
    return tuple(sorted([*names, *(f"fields.{name}" for name in options.fields)]))


def options_of_next(
    location: str | Path, model: Path | None, options: LoadOptions, *, layout: bool = True
) -> tuple[LoadOptions, tuple[str, ...]]:
    """Return the options of an index that replaces another: with what that one was declared with, and what this is.

    Nothing is taken over of an index that can't be read, as building anew is what mends it.

    :param location: of the index that is replaced.
    :param layout: take over the server's options, too.
    """
    from hybrid_search.towers.model_card import read_model_card

    card = read_model_card(model) if model else None
    try:
        with contextlib.closing(open_engine(location)) as engine:
            old = engine.settings
            new = old.replace(fingerprint="", dimension=0, bm25=Bm25(), faiss="auto")
            if card:
                new = new.replace(fingerprint=card.fingerprint, dimension=card.tower.dimension, bm25=card.defaults.bm25)
            after = taken_over(options, old, new)
            if layout and is_on_server(location):
                after = replace(after, layout=_layout_of_next(engine, options.layout, vectors=bool(new.dimension)))
    except HybridSearchError as error:
        if getattr(error, "retryable", False):
            raise
        return options, (f"nothing, as it can't be read ({error})",)
    return after, told(options, after)


def _layout_of_next(engine: Engine, asked: ServerOptions, *, vectors: bool) -> ServerOptions:
    from hybrid_search.engines.opensearch.index import inherited
    from hybrid_search.engines.opensearch.transport import Client

    address = cast("OpenSearchEngine", engine).place.address
    with contextlib.closing(Client(address)) as client:
        return inherited(client, address.index, asked, vectors=vectors)


def settings_of_new(model: Path | None, options: LoadOptions) -> IndexSettings:
    """Return the settings of an index that :func:`load` would create.

    :raises ConfigError: if a setting is invalid.
    """
    return NewIndex.prepared(model, options).settings


def create(
    location: str | Path,
    model: Path | None,
    language: str | None = None,
    fields: Mapping[str, FieldType] | None = None,
) -> Retriever:
    """Create an empty index with the towers of a model, and open it to write.

    :param language: as in :class:`LoadOptions`; None for English.
    :param fields: name -> type of the metadata fields to declare.
    :raises IndexExists: if there is an index.
    """
    if index_exists(location):
        raise IndexExists(f"{location}: there is an index already; open it, or drop it first")
    new = NewIndex.prepared(model, LoadOptions(language=language, fields=fields or {}))
    try:
        engine, encoder = opened(location, new, LoadOptions())
    except IndexExists:  # another process was quicker
        raise
    except BaseException:
        drop_index(location)
        raise
    return Retriever(encoder, engine)


@contextlib.contextmanager
def target_of(location: str | Path, *, recreate: bool) -> Iterator[str | Path]:
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
def not_left_empty(location: str | Path, name: str, *, aside: bool) -> Iterator[Callable[[int, int], None]]:
    """Drop an index that the block created if it ends without a document.

    :param aside: the index is to replace another one, which is kept then.

    :return: to be called with the numbers of documents and of rejected ones; raises if a new index contains none.
    """
    made = not index_exists(location)

    def check(documents: int, rejected: int) -> None:
        if made and not documents:
            why = "the data set gave no document; check the path"
            if rejected:
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


def opened(location: str | Path, new: NewIndex, options: LoadOptions) -> tuple[Engine, Encoder | None]:
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
        missing = None if new.model else _shipped_towers_missing(engine)
        encoder = new.encoder or open_encoder(engine, missing, threads=options.threads)
        if encoder is None and engine.settings.dimension:
            raise missing_towers(location, engine.settings.fingerprint)
        if (model := new.model or missing) and not has_towers(engine):
            store_towers(engine, model)
        if lacking := {name: kind for name, kind in options.fields.items() if name not in engine.settings.fields}:
            engine.declare(lacking)
        _tell_server(engine, options)
    except BaseException:
        engine.close()
        raise
    return engine, encoder


def _shipped_towers_missing(engine: Engine) -> Path | None:
    """Return the model of the package if the index is of it and lacks its towers; a load ended too early."""
    from hybrid_search.towers.model_card import read_model_card
    from hybrid_search.towers.shipped import default_model

    shipped = default_model() if engine.settings.dimension else None
    if shipped is None or read_model_card(shipped).fingerprint != engine.settings.fingerprint:
        return None
    return shipped if engine.model_folder() is None else None


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
    check_declared(settings.fields, options.fields, location)
    requested = {"bm25": options.bm25, "fusion": options.fusion, "faiss": options.faiss}
    for name, value in requested.items():
        if value is not None and value != getattr(settings, name):
            raise IndexExists(
                f"{location}: the index has {name} {getattr(settings, name)}, asked for {value}; {remedy}"
            )
