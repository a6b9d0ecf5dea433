"""The pipelines that encode documents and queries in the cluster, and the search template that uses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from hybrid_search import mappings
from hybrid_search.engines.opensearch.index import Deployment
from hybrid_search.engines.opensearch.search import SHOWN, description_of, fusion_pipeline
from hybrid_search.engines.opensearch.transport import Client
from hybrid_search.errors import ConfigError
from hybrid_search.settings.index import Fusion

__all__ = [
    "BATCH",
    "INGEST",
    "PAGE",
    "SEARCH",
    "SETTINGS",
    "delete",
    "give_back",
    "ingest_pipeline",
    "made_for",
    "put",
    "search_pipeline",
    "stored",
    "template_script",
    "told_before",
    "use",
]


Body = dict[str, Any]

INGEST = "/_ingest/pipeline"
SEARCH = "/_search/pipeline"

BATCH = 8
"""Documents of a bulk request that are encoded in one call of the model; docs/in_cluster.md has the figures."""

SETTINGS = ("index.default_pipeline", "index.search.default_pipeline")
"""The index settings that name the ingest pipeline and the search pipeline."""

_OURS = "hybrid-search: "
_NOT_FOUND = 404

# The text that is encoded is the loader's: title, a space, text. A document that has a vector keeps it.
_BEFORE = """
ctx.id = ctx._id;
if (ctx.added == null) { ctx.added = System.currentTimeMillis() * 1000000L; }
if (ctx.vector == null) {
  String text = ctx.text == null ? '' : ctx.text;
  if (ctx.title != null && !ctx.title.isEmpty()) { text = ctx.title + ' ' + text; }
  for (int i = 0; i < text.length(); i++) {
    if (!Character.isWhitespace(text.charAt(i))) { ctx.embedded_text = text; break; }
  }
}
"""
_CONDITION = "ctx.embedded_text != null"
_AFTER = """
ctx.remove('embedded_text');
if (ctx.vector instanceof List) {
  boolean zero = true;
  for (def value : ctx.vector) { if (value != 0) { zero = false; break; } }
  if (zero) { ctx.remove('vector'); }
}
"""


def ingest_pipeline(deployment: Deployment) -> Body:
    """Return the ingest pipeline that converts a plain document to the form that a load writes."""
    return mappings.render(
        "serving/documents",
        description=f"{_OURS}documents of {deployment.index} by model {deployment.fingerprint}",
        before=_BEFORE.strip(),
        condition=_CONDITION,
        after=_AFTER.strip(),
        model=deployment.document_model,
        batch_size=BATCH,
    )


def search_pipeline(deployment: Deployment, fusion: Fusion) -> Body:
    """Return the search pipeline that adds the query tower to ``neural`` clauses and fuses hybrid queries."""
    enricher = mappings.render(
        "serving/queries",
        description=f"{description_of(fusion)}; queries by model {deployment.fingerprint}",
        model=deployment.query_model,
    )
    return {**enricher, **fusion_pipeline(fusion)}


def stored(client: Client, kind: str, name: str) -> Body | None:
    """Return a pipeline of ours as stored on the server, or None.

    :param kind: :data:`INGEST` or :data:`SEARCH`.
    :raises ConfigError: if another program made the pipeline of this name.
    """
    pipeline: Body | None = client.call("GET", f"{kind}/{quote(name, safe='')}", ignore=_NOT_FOUND).get(name)
    if pipeline is not None and not str(pipeline.get("description", "")).startswith(_OURS):
        raise ConfigError(
            f"the server has a pipeline {name!r} that hybrid-search did not make; delete it (DELETE {kind}/{name})"
        )
    return pipeline


def put(client: Client, kind: str, name: str, body: Mapping[str, Any]) -> None:
    """Store a pipeline."""
    client.call("PUT", f"{kind}/{quote(name, safe='')}", body)


def delete(client: Client, kind: str, name: str) -> bool:
    """Delete a pipeline; returns whether there was one."""
    if stored(client, kind, name) is None:
        return False
    client.call("DELETE", f"{kind}/{quote(name, safe='')}")
    return True


def told_before(client: Client, deployment: Deployment) -> dict[str, str | None]:
    """Return the index settings that name other pipelines than the deployment's: setting -> pipeline, or None."""
    settings = client.call("GET", f"/{deployment.index}/_settings", flat_settings="true")[deployment.index]["settings"]
    return {name: settings.get(name) for name, value in _pipelines(deployment).items() if settings.get(name) != value}


def use(client: Client, deployment: Deployment) -> None:
    """Make both pipelines the index's defaults, for documents and for queries.

    They also apply to requests by an alias, as they belong to the index and not to the request.
    """
    client.call("PUT", f"/{deployment.index}/_settings", _pipelines(deployment))


def _pipelines(deployment: Deployment) -> dict[str, str]:
    return dict(zip(SETTINGS, (deployment.ingest_pipeline, deployment.search_pipeline), strict=True))


def give_back(client: Client, index: str, before: Mapping[str, str | None]) -> None:
    """Restore the index's previous default pipelines."""
    if before:
        client.call("PUT", f"/{index}/_settings", dict(before))


def made_for(deployment: Deployment, fusion: Fusion) -> list[tuple[str, str, Body]]:
    """Return both pipelines of an index: (kind, name, body)."""
    return [
        (INGEST, deployment.ingest_pipeline, ingest_pipeline(deployment)),
        (SEARCH, deployment.search_pipeline, search_pipeline(deployment, fusion)),
    ]


PAGE = 10
"""Default number of hits of the template."""

# The filter is in each leg, as every version accepts that.
_SOURCE = """{
  "size": {{size}}{{^size}}%(page)d{{/size}},
  "from": {{from}}{{^from}}0{{/from}},
  {{#ids}}"_source": false, "stored_fields": "_none_", "docvalue_fields": ["id"],{{/ids}}
  {{^ids}}"_source": %(shown)s,{{/ids}}
  "track_total_hits": false,
  "query": {"hybrid": {"pagination_depth": %(window)d, "queries": [
    {"bool": {
      "must": [{"match": {"searchable": {"query": "{{q}}"}}}],
      "filter": [{{#filter}}{{#toJson}}filter{{/toJson}}{{/filter}}]
    }},
    {"neural": {"vector": {
      {{#filter}}"filter": {{#toJson}}filter{{/toJson}},{{/filter}}
      "query_text": "{{q}}", "k": %(window)d
    }}}
  ]}}
}"""


def template_script(fusion: Fusion) -> dict[str, Any]:
    """Return the body that stores the search template.

    Its parameters are ``q``, the text; and optionally ``size``, ``from``, ``filter`` (a query in the server's
    language), and ``ids`` (true for ids without texts, which is several times as fast on an index of one shard). The
    index's default search pipeline fuses the legs and names the query tower, so one template works for every index
    behind an alias.
    """
    values = {"page": PAGE, "shown": msgspec.json.encode(SHOWN).decode(), "window": fusion.window}
    return {"script": {"lang": "mustache", "source": _SOURCE % values}}
