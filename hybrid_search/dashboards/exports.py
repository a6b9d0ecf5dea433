"""Exports and imports the Dashboards pack of an index, and exports a data set for Search Relevance."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_search.dashboards.objects import DEFAULT_FIELD, SavedObject, Typed, ndjson
from hybrid_search.dashboards.pack import build_pack
from hybrid_search.dashboards.panels import Shown
from hybrid_search.dashboards.relevance import PLUGIN, Templates, console_lines, relevance_requests
from hybrid_search.engines.opensearch.index import COMPANIONS
from hybrid_search.errors import DataError, SearchIndexError, UsageError
from hybrid_search.opening import is_on_server, open_encoder
from hybrid_search.protocols import Dataset
from hybrid_search.settings.index import FieldType, Fusion
from hybrid_search.storage import atomic_write_bytes

if TYPE_CHECKING:
    from hybrid_search.dashboards.import_objects import Imported
    from hybrid_search.engines.opensearch import OpenSearchEngine
    from hybrid_search.engines.opensearch.index import Deployment

__all__ = [
    "Exported",
    "RelevanceFile",
    "export_pack",
    "export_relevance",
    "import_pack",
    "open_server_index",
    "pack_of",
]

_log = logging.getLogger(__name__)

_LEAST_WEIGHT = 2.0**-20
_FEW_VALUES = 15
_TEMPLATES_SINCE = (3, 8, 0)


@dataclass(frozen=True, slots=True)
class Exported:
    """The written file, and its number of objects by type."""

    file: Path
    index: str
    objects: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RelevanceFile:
    """The written file, and its numbers of queries and search configurations.

    :ivar plugin: whether the server has the plugin Search Relevance.
    """

    file: Path
    queries: int
    configurations: int
    plugin: bool


def open_server_index(location: str) -> OpenSearchEngine:
    """Open an index on a server.

    :raises UsageError: for an index in a folder.
    """
    if not is_on_server(location):
        raise UsageError(f"{location}: Dashboards shows what is on a server; give opensearch://host:9200/index")
    from hybrid_search.engines.opensearch import OpenSearchEngine

    return OpenSearchEngine.open(location)


def pack_of(location: str) -> list[SavedObject]:
    """Make the pack of an index. The index need not have a query log yet.

    :param location: of an index or alias; the objects refer to it by this name.
    :raises SearchIndexError: if there is no index, or the server can't be reached.
    """
    from hybrid_search.engines.opensearch.index import metadata_path

    with open_server_index(location) as engine:
        fields = {metadata_path(name): kind for name, kind in engine.settings.fields.items()}
        shown = Shown(engine.place.asked.index, fields, _typed(engine), _of_unique_values(engine, fields))
    return build_pack(shown)


def _of_unique_values(engine: OpenSearchEngine, fields: Mapping[str, FieldType]) -> frozenset[str]:
    """Return the keyword fields with mostly unique values, such as addresses: a panel of their values shows nothing."""
    from hybrid_search.engines.opensearch.transport import Client

    keywords = [path for path, kind in fields.items() if kind == "keyword"]
    if not keywords:
        return frozenset()
    counts = {
        f"{metric}-{number}": {metric: {"field": path}}
        for number, path in enumerate(keywords)
        for metric in ("value_count", "cardinality")
    }
    with closing(Client(engine.place.address)) as client:
        answer = client.call("POST", f"/{engine.place.address.index}/_search", {"size": 0, "aggs": counts})
    found = {name: one["value"] for name, one in answer["aggregations"].items()}
    return frozenset(
        path
        for number, path in enumerate(keywords)
        if found[f"cardinality-{number}"] > max(_FEW_VALUES, found[f"value_count-{number}"] / 2)
    )


def export_pack(location: str, file: Path) -> Exported:
    """Write the pack of an index to a file.

    :raises UsageError: if the file's name does not end in ``.ndjson``, as Dashboards requires.
    :raises StorageError: if the file can't be written.
    """
    if file.suffix != ".ndjson":
        raise UsageError(f"{file}: Dashboards imports files whose name ends in .ndjson; name it {file.stem}.ndjson")
    pack = pack_of(location)
    atomic_write_bytes(file, ndjson(pack))
    return Exported(file, location, Counter(one.type for one in pack))


def import_pack(location: str, url: str, *, tenant: str = "") -> Imported:
    """Import the pack of an index into Dashboards, and create the indexes and the setting that its panels need.

    Objects of an earlier import are replaced. If the server refuses an index or the setting, a warning is logged.

    :raises SearchIndexError: as :func:`~hybrid_search.dashboards.import_objects.import_objects`.
    """
    from hybrid_search.dashboards.import_objects import DashboardsAddress, import_objects

    DashboardsAddress.parse(url)  # raises for a wrong URL before any request is sent
    imported = import_objects(url, ndjson(pack_of(location)), tenant=tenant)
    try:
        _make_ready(location)
    except SearchIndexError as error:
        _log.warning(
            "some panels show nothing or an error until the server lets us make ready what they ask: %s", error
        )
    return imported


def _make_ready(location: str) -> None:
    """Create the empty companion indexes, and for typed queries set the field that plain words are searched in."""
    from hybrid_search.engines.opensearch.index import CompanionIndex
    from hybrid_search.engines.opensearch.transport import Client

    with open_server_index(location) as engine:
        place, typed = engine.place, _typed(engine)
    for kind in COMPANIONS:
        with closing(CompanionIndex(place.asked, kind)) as companion:
            companion.ensure()
    if typed is not None:
        with closing(Client(place.address)) as client:
            client.call("PUT", f"/{place.address.index}/_settings", DEFAULT_FIELD)
        _log.warning("%s: set %s, for the panel of typed queries", place.address, _shown(DEFAULT_FIELD))


def _shown(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{name} to {value}" for name, value in settings.items())


def _typed(engine: OpenSearchEngine) -> Typed | None:
    """Return what the panel of typed queries needs; None unless the index's towers run in its cluster."""
    from hybrid_search.engines.opensearch.search import fusion_pipeline

    deployed, settings = _deployed(engine), engine.settings
    if deployed is None or deployed.endpoint or deployed.fingerprint != settings.fingerprint:
        return None
    fusion = settings.fusion
    fusions = {
        "bm25": fusion_pipeline(_fractions(Fusion(weights=(1.0, 0.0)))),
        "hybrid": fusion_pipeline(_fractions(fusion)),
        "knn": fusion_pipeline(_fractions(Fusion(weights=(0.0, 1.0)))),
    }
    return Typed(deployed.query_model, settings.dimension, fusion.window, fusions)


def _fractions(fusion: Fusion) -> Fusion:
    """Replace weights of 0 and 1 by nearby fractions: browsers write them as integers, which pipelines reject."""
    bm25 = min(max(fusion.weights[0], _LEAST_WEIGHT), 1 - _LEAST_WEIGHT)
    return fusion.replace(weights=(bm25, 1 - bm25))


def export_relevance(
    dataset: Dataset, location: str, file: Path, *, split: str = "", judgement_set: str = "", pipeline: str = ""
) -> RelevanceFile:
    """Write requests for Dev Tools that create a query set, judgements and search configurations in Search Relevance.

    :param split: whose queries; empty for ``test``, or the last split if there is no ``test``.
    :param pipeline: a search pipeline with towers deployed in the cluster; empty for that of ``deploy``. Without
        either, a server before 3.8 gets the configuration for BM25 alone; a later one gets the vectors of the queries.
    :raises DataError: if the data set has no judged queries.
    :raises UsageError: if it has no such split.
    """
    splits = dataset.splits()
    chosen = split or ("test" if "test" in splits else splits[-1] if splits else "")
    if not chosen:
        raise DataError(f"{dataset.name} has no judged queries, and there is nothing to measure without")
    if chosen not in splits:
        raise UsageError(f"{dataset.name} has no split {split!r}; there are {', '.join(splits)}")
    with open_server_index(location) as engine:
        name, window = engine.place.asked.index, engine.settings.fusion.window
        plugin = PLUGIN in engine.stats()["plugins"]
        deployed = _deployed(engine)
        templates = _templates(engine, with_vectors=not pipeline)
        pipeline = pipeline or (deployed.search_pipeline if deployed else "")
    queries, judgements = dataset.queries(chosen), dataset.judgements(chosen, judgement_set)
    requests = list(
        relevance_requests(
            name, f"{dataset.name} {chosen}", queries, judgements, pipeline=pipeline, window=window, templates=templates
        )
    )
    query_set, _, *configurations = requests
    atomic_write_bytes(file, "\n".join(console_lines(requests)).encode())
    return RelevanceFile(file, len(query_set.body["querySetQueries"]), len(configurations), plugin)


def _templates(engine: OpenSearchEngine, *, with_vectors: bool) -> Templates | None:
    from hybrid_search.engines.opensearch.search import fusion_pipeline

    if tuple(map(int, engine.capabilities.version.split("."))) < _TEMPLATES_SINCE:
        return None
    towers = open_encoder(engine, None) if with_vectors and engine.settings.dimension else None
    encode = towers.encode_queries if towers else None
    return Templates(engine.place.address.index, encode, fusion_pipeline(_fractions(engine.settings.fusion)))


def _deployed(engine: OpenSearchEngine) -> Deployment | None:
    from hybrid_search.engines.opensearch.index import find_deployment
    from hybrid_search.engines.opensearch.transport import Client

    with closing(Client(engine.place.asked)) as client:
        return find_deployment(client, engine.place.address.index)
