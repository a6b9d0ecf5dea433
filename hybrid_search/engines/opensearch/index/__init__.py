"""An index on a server: template, notes, aliases, capabilities, documents as JSON, and related indexes."""

from hybrid_search.engines.opensearch.index.aliases import (
    ALL_INDEXES,
    Place,
    ServerIndex,
    check_shows_all,
    create_marked,
    delete_index,
    inherited,
    list_indexes,
    live_index,
    names_on,
    note_live,
    resolve,
    settled,
    swap,
)
from hybrid_search.engines.opensearch.index.capabilities import KNN, ML, NEURAL, Ability, ServerCapabilities
from hybrid_search.engines.opensearch.index.deployment import (
    Deployment,
    all_deployments,
    find_deployment,
    forget,
    read_record,
    readable_record,
    record_in,
    remember,
)
from hybrid_search.engines.opensearch.index.document_json import as_decimals, from_source, metadata_path
from hybrid_search.engines.opensearch.index.fitness import (
    faults_of_mapping,
    faults_of_settings,
    other_fields,
    pipelines_of,
)
from hybrid_search.engines.opensearch.index.holders import path_of
from hybrid_search.engines.opensearch.index.lock import Lock
from hybrid_search.engines.opensearch.index.meta import Mark, change_mark, mark_of, next_name, read_mark
from hybrid_search.engines.opensearch.index.side_index import COMPANIONS, Companion, CompanionIndex, companion_index
from hybrid_search.engines.opensearch.index.template import FORMAT_VERSION, settings_of
from hybrid_search.engines.opensearch.index.tower_files import NOTE, companion_of, digest_of, record_of

__all__ = [
    "ALL_INDEXES",
    "COMPANIONS",
    "FORMAT_VERSION",
    "KNN",
    "ML",
    "NEURAL",
    "NOTE",
    "Ability",
    "Companion",
    "CompanionIndex",
    "Deployment",
    "Lock",
    "Mark",
    "Place",
    "ServerCapabilities",
    "ServerIndex",
    "all_deployments",
    "as_decimals",
    "change_mark",
    "check_shows_all",
    "companion_index",
    "companion_of",
    "create_marked",
    "delete_index",
    "digest_of",
    "faults_of_mapping",
    "faults_of_settings",
    "find_deployment",
    "forget",
    "from_source",
    "inherited",
    "list_indexes",
    "live_index",
    "mark_of",
    "metadata_path",
    "names_on",
    "next_name",
    "note_live",
    "other_fields",
    "path_of",
    "pipelines_of",
    "read_mark",
    "read_record",
    "readable_record",
    "record_in",
    "record_of",
    "remember",
    "resolve",
    "settings_of",
    "settled",
    "swap",
]
