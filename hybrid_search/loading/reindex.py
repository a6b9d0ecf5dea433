"""Encodes an index's documents with another model, into another index; behind an alias without interrupting queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from hybrid_search.analysis import language_of
from hybrid_search.engines.opensearch import OpenSearchEngine
from hybrid_search.engines.opensearch.search import sequence_mark, without_counterpart, writes_to
from hybrid_search.engines.opensearch.transport import Client
from hybrid_search.errors import UsageError
from hybrid_search.loading.blue_green import (
    RefusedIds,
    Swap,
    begin,
    check_towers_can_follow,
    load_behind_alias,
    take_over,
)
from hybrid_search.loading.checks import LEAST_RECALL, SAMPLE, Expected
from hybrid_search.loading.gate import Gate
from hybrid_search.loading.load import LoadOptions, LoadReport, load
from hybrid_search.loading.sources import Corpus, Reservoir
from hybrid_search.loading.sync import Rejecting
from hybrid_search.loading.target import settings_of_new
from hybrid_search.location import Address
from hybrid_search.opening import is_on_server, open_engine
from hybrid_search.protocols import Engine, Progress, silent
from hybrid_search.streams import in_batches
from hybrid_search.types import Document, Rejection

__all__ = ["corpus_of", "keeping_fields", "reindex", "reindex_behind_alias"]

_MOST_PASSES = 5
_DELETED_AT_ONCE = 1_000

Documents = Callable[[], Iterator[Document]]


def reindex(
    source: str | Path,
    target: str | Path,
    model: Path,
    *,
    options: LoadOptions | None = None,
    reject: Callable[[Rejection], None] = lambda rejection: None,
    progress: Progress = silent,
) -> LoadReport:
    """Load the documents of one index into another, with vectors of ``model``. Repeating it is harmless.

    Metadata fields keep their types. Changes in the source during the load may be missed; repeating it adds them.

    :raises UsageError: if both locations are the same.
    """
    if str(source) == str(target):
        raise UsageError(f"{source} can't be read and built anew at the same time; give another location")
    with closing(open_engine(source)) as engine:
        options = replace(keeping_fields(engine, options), total=engine.count())
        if is_on_server(target):
            options = _as_held(options)
        return load(corpus_of(engine, source), target, model=model, options=options, reject=reject, progress=progress)


def corpus_of(engine: Engine, location: str | Path) -> Corpus:
    """Return an index's documents as a data set; those of a server as it has indexed them."""
    name = f"documents of {location}"
    return Corpus(name, engine.documents if not isinstance(engine, OpenSearchEngine) else engine.held_documents().all)


def keeping_fields(engine: Engine, options: LoadOptions | None) -> LoadOptions:
    """Add an index's metadata fields, its language, and the BM25 that it was declared with to the options of a new one.

    In the new index all of them count as declared.
    """
    options, old = options or LoadOptions(), engine.settings
    language = options.language or language_of(old.analyzer)
    bm25 = options.bm25 or (old.bm25 if "bm25" in old.declared else None)
    return replace(options, fields={**old.fields, **options.fields}, language=language, bm25=bm25)


def _as_held(options: LoadOptions) -> LoadOptions:
    """Accept everything that an index on a server may contain."""
    return replace(options, server=replace(options.server, as_held=True))


def reindex_behind_alias(
    address: Address,
    model: Path,
    *,
    source: str | Path | None = None,
    options: LoadOptions | None = None,
    least_recall: float = LEAST_RECALL,
    reject: Rejecting | None = None,
    gate: Gate | None = None,
    progress: Progress = silent,
) -> Swap:
    """Create the next index of an alias from the documents of the live one, with vectors of another model.

    The alias only moves if every document of the live index, as its server has indexed it, is accepted. Until then,
    queries go on in the live index. Documents added, replaced or deleted in it meanwhile are transferred in further
    passes, until one finds no changes, or after five; later changes are missed.

    :param address: of the alias.
    :param source: an index to read instead of the live one, in a single pass.
    :param least_recall: minimum recall of the graph, 0..1; below it the new index does not go live.
    :param gate: as :func:`~hybrid_search.loading.blue_green.load_behind_alias`.
    :raises IndexNotFound: if there is no live index.
    :raises UsageError: if the live index's towers are behind a connector, and the new one's are not deployed yet.
    :raises SearchIndexError: if a check fails; the alias then stays where it was, and the new index is kept.
    """
    if source is not None:
        with closing(open_engine(source)) as engine:
            return load_behind_alias(
                corpus_of(engine, source),
                address,
                model=model,
                options=_as_held(keeping_fields(engine, options)),
                least_recall=least_recall,
                most_rejected=0.0,
                reject=reject,
                gate=gate,
                progress=progress,
            )
    with closing(Client(address)) as client, OpenSearchEngine.open(str(address)) as live:
        reindexing = _Reindexing(client, live, address, model, keeping_fields(live, options))
        report, expected = reindexing.run(RefusedIds(reject), progress)
        expected = replace(expected, least_recall=least_recall)
        return take_over(client, address, reindexing.new.index, report, expected, gate)


class _Reindexing:
    """Loads a live index's documents into the alias's next index, and transfers changes made meanwhile."""

    def __init__(
        self, client: Client, live: OpenSearchEngine, alias: Address, model: Path, options: LoadOptions
    ) -> None:
        self._client = client
        self._live = live
        self._old = live.place.address.index
        self._model = model
        self._held = live.held_documents()
        self._options = _as_held(replace(options, recreate=False))
        self._source = f"documents of {self._old}"
        settings = settings_of_new(model, options)
        name = begin(
            client, alias.index, settings, self._source, anew=options.recreate, layout=options.layout, model=model
        )
        self.new = alias.at(name)
        check_towers_can_follow(client, alias.index, self.new, model)

    def run(self, refused: RefusedIds, progress: Progress) -> tuple[LoadReport, Expected]:
        """Load; return the first pass's report, and what the new index should contain."""
        self._load = partial(self._loaded, refused, progress)
        self._mark, self._writes = self._marked(), writes_to(self._client, self._old)
        reservoir = Reservoir(SAMPLE)
        report = self._load(reservoir.watching(self._held.all))
        return report, self._catch_up([document.id for document in reservoir.sample], refused)

    def _loaded(self, refused: RefusedIds, progress: Progress, documents: Documents) -> LoadReport:
        corpus, location = Corpus(self._source, documents), str(self.new)
        return load(corpus, location, model=self._model, options=self._options, reject=refused, progress=progress)

    def _catch_up(self, ids: list[str], refused: RefusedIds) -> Expected:
        """Run passes until one finds no changes.

        :param ids: ids to check at the end; those that changed during the last pass are left out.
        """
        for _ in range(_MOST_PASSES):
            count, sample = self._live.count(), self._held.get(ids)
            if not self._pass():
                break
        counts = sorted((count, self._live.count()))
        same = [one for one, now in zip(sample, self._held.get(ids), strict=True) if one is not None and one == now]
        return Expected(
            documents=counts[1],
            fewest=counts[0],
            rejected=self._still_missing(sorted(refused.ids)),
            most_rejected=0.0,
            sample=same,
        )

    def _still_missing(self, ids: list[str]) -> int:
        """Count the documents that were rejected once, and are still in the live index but not in the new one."""
        with OpenSearchEngine.open(str(self.new)) as engine:
            there = engine.get(ids)
        return sum(new is None and old is not None for new, old in zip(there, self._held.get(ids), strict=True))

    def _pass(self) -> int:
        since, self._mark = self._mark, self._marked()
        added = self._load(lambda: self._held.changed_since(since)).added
        return added + self._delete_what_is_gone()

    def _delete_what_is_gone(self) -> int:
        # Not by comparing counts: a document added at the same time would hide a deleted one.
        if writes_to(self._client, self._old) == self._writes:
            return 0
        deleted = 0
        with OpenSearchEngine.open(str(self.new), writable=True) as engine:
            gone = without_counterpart(self._client, self.new.index, self._old)
            for batch in in_batches(gone, _DELETED_AT_ONCE):
                deleted += engine.delete(batch)
            engine.commit()
        return deleted

    def _marked(self) -> int:
        """Return a sequence number such that searching finds every change up to it."""
        mark = sequence_mark(self._client, self._old)
        self._client.call("POST", f"/{self._old}/_refresh")
        return mark
