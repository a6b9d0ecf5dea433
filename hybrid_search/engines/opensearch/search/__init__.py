"""Searching an index on a server: requests and answers are pure; nothing here opens a connection."""

from hybrid_search.engines.opensearch.search.answers import hits_of
from hybrid_search.engines.opensearch.search.bodies import EncodedThere, fusion_pipeline
from hybrid_search.engines.opensearch.search.filter_queries import filter_query
from hybrid_search.engines.opensearch.search.fusion_pipelines import description_of
from hybrid_search.engines.opensearch.search.scan import sequence_mark, without_counterpart, writes_to
from hybrid_search.engines.opensearch.search.shown import SHOWN, console_form, for_people

__all__ = [
    "SHOWN",
    "EncodedThere",
    "console_form",
    "description_of",
    "filter_query",
    "for_people",
    "fusion_pipeline",
    "hits_of",
    "sequence_mark",
    "without_counterpart",
    "writes_to",
]
