"""Make an index visible to people: the pack of saved objects, its import, and what its panels are fed with."""

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
from hybrid_search.dashboards.relevance import PLUGIN, console_lines, relevance_requests
from hybrid_search.engines.opensearch.index.side_index import COMPANIONS
from hybrid_search.errors import DataError, SearchIndexError, UsageError
from hybrid_search.opening import is_on_server
from hybrid_search.protocols import Dataset
from hybrid_search.settings.index import FieldType, Fusion
from hybrid_search.storage import atomic_write_bytes

if TYPE_CHECKING:
    from hybrid_search.dashboards.import_objects import Imported
    from hybrid_search.engines.opensearch import OpenSearchEngine
    from hybrid_search.engines.opensearch.index.deployment import Deployment

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


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: how many objects of each type."""

    file: Path
    index: str
    objects: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RelevanceFile:
    """What was written.

    :ivar plugin: whether the server has the plugin that takes the requests.
    """

    file: Path
    queries: int
    configurations: int
    plugin: bool


def open_server_index(location: str) -> OpenSearchEngine:
    """Open an index on a server.

    :raises UsageError: for one in a folder.
    """
    if not is_on_server(location):
        raise UsageError(f"{location}: Dashboards shows what is on a server; give opensearch://host:9200/index")
    from hybrid_search.engines.opensearch import OpenSearchEngine

    return OpenSearchEngine.open(location)


def pack_of(location: str) -> list[SavedObject]:
    """Make the pack of an index. The index need not have a query log yet.

    :param location: of an index or alias; the objects are about it by this name.
    :raises SearchIndexError: if there is no index, or the server can't be asked.
    """
    from hybrid_search.engines.opensearch.index.document_json import metadata_path

    with open_server_index(location) as engine:
        fields = {metadata_path(name): kind for name, kind in engine.settings.fields.items()}
        shown = Shown(engine.place.asked.index, fields, _typed(engine), _of_unique_values(engine, fields))
    return build_pack(shown)


def _of_unique_values(engine: OpenSearchEngine, fields: Mapping[str, FieldType]) -> frozenset[str]:
    """Return the keyword fields whose values hardly ever come twice, as addresses: a panel of them shows nothing."""
    from hybrid_search.engines.opensearch.transport.client import Client

    keywords = [path for path, kind in fields.items() if kind == "keyword"]
    if not keywords:
        return frozenset()
    counts = {
        f"{what}-{number}": {what: {"field": path}}
        for number, path in enumerate(keywords)
        for what in ("value_count", "cardinality")
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
    """Write the pack of an index.

    :raises UsageError: if the file's name does not end in ``.ndjson``, which Dashboards demands.
    :raises StorageError: if the file can't be written.
    """
    if file.suffix != ".ndjson":
        raise UsageError(f"{file}: Dashboards imports files whose name ends in .ndjson; name it {file.stem}.ndjson")
    pack = pack_of(location)
    atomic_write_bytes(file, ndjson(pack))
    return Exported(file, location, Counter(one.type for one in pack))


def import_pack(location: str, url: str, *, tenant: str = "") -> Imported:
    """Import the pack of an index into Dashboards, and make ready on the server what its panels ask.

    What was imported before is replaced. What can't be made ready is logged, with the panels that lack it.

    :raises SearchIndexError: as :func:`~hybrid_search.dashboards.import_objects.import_objects`.
    """
    from hybrid_search.dashboards.import_objects import DashboardsAddress, import_objects

    DashboardsAddress.parse(url)  # a wrong URL is told before a server is asked
    imported = import_objects(url, ndjson(pack_of(location)), tenant=tenant)
    try:
        _make_ready(location)
    except SearchIndexError as error:
        _log.warning(
            "some panels show nothing or an error until the server lets us make ready what they ask: %s", error
        )
    return imported


def _make_ready(location: str) -> None:
    """Make the indexes beside this one, empty; and for typed queries look for words in titles and texts alone."""
    from hybrid_search.engines.opensearch.index.side_index import CompanionIndex
    from hybrid_search.engines.opensearch.transport.client import Client

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
    """Say how a typed text is answered, where the index's own towers run in its cluster."""
    from hybrid_search.engines.opensearch.search.bodies import fusion_pipeline

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
    """Keep weights off 0 and 1: a browser writes those as whole numbers, which the server's pipelines do not take."""
    bm25 = min(max(fusion.weights[0], _LEAST_WEIGHT), 1 - _LEAST_WEIGHT)
    return fusion.replace(weights=(bm25, 1 - bm25))


def export_relevance(
    dataset: Dataset, location: str, file: Path, *, split: str = "", judgement_set: str = "", pipeline: str = ""
) -> RelevanceFile:
    """Write requests for Dev Tools that give Search Relevance a data set's queries and judgements, and configurations.

    :param split: whose queries; empty for ``test``, or the last split.
    :param pipeline: a search pipeline with the towers deployed in the cluster; empty for that of ``deploy``. Where
        there is neither, there is a configuration for BM25 only.
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
        pipeline = pipeline or (deployed.search_pipeline if deployed else "")
    queries, judgements = dataset.queries(chosen), dataset.judgements(chosen, judgement_set)
    requests = list(
        relevance_requests(name, f"{dataset.name} {chosen}", queries, judgements, pipeline=pipeline, window=window)
    )
    query_set, _, *configurations = requests
    atomic_write_bytes(file, "\n".join(console_lines(requests)).encode())
    return RelevanceFile(file, len(query_set.body["querySetQueries"]), len(configurations), plugin)


def _deployed(engine: OpenSearchEngine) -> Deployment | None:
    from hybrid_search.engines.opensearch.index.deployment import find_deployment
    from hybrid_search.engines.opensearch.transport.client import Client

    with closing(Client(engine.place.asked)) as client:
        return find_deployment(client, engine.place.address.index)
