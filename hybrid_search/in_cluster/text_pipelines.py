"""Pipelines that encode documents and queries inside the cluster, and the stored search template that uses them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

import mappings
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
"""Documents of a bulk request that are encoded with one call of the model; see docs/in_cluster.md for the figures."""

SETTINGS = ("index.default_pipeline", "index.search.default_pipeline")
"""Of an index: by which it names the two."""

_OURS = "hybrid-search: "
_NOT_FOUND = 404

# Encoded is what the loader encodes: title and text with a space between. A document that brings its vector keeps it.
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
    """Return the pipeline that makes of a text what a load makes of it."""
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
    """Return the pipeline that names the query tower to ``neural`` clauses and fuses hybrid queries."""
    enricher = mappings.render(
        "serving/queries",
        description=f"{description_of(fusion)}; queries by model {deployment.fingerprint}",
        model=deployment.query_model,
    )
    return {**enricher, **fusion_pipeline(fusion)}


def stored(client: Client, kind: str, name: str) -> Body | None:
    """Return a pipeline of ours as the server has it; None where there is none of this name.

    :param kind: :data:`INGEST` or :data:`SEARCH`.
    :raises ConfigError: if there is one that something else made.
    """
    held: Body | None = client.call("GET", f"{kind}/{quote(name, safe='')}", ignore=_NOT_FOUND).get(name)
    if held is not None and not str(held.get("description", "")).startswith(_OURS):
        raise ConfigError(
            f"the server has a pipeline {name!r} that hybrid-search did not make; delete it (DELETE {kind}/{name})"
        )
    return held


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
    """Return by which pipelines an index goes, where these are others; None for none."""
    held = client.call("GET", f"/{deployment.index}/_settings", flat_settings="true")[deployment.index]["settings"]
    return {name: held.get(name) for name, value in _told(deployment).items() if held.get(name) != value}


def use(client: Client, deployment: Deployment) -> None:
    """Let an index send its documents and queries through the two.

    An alias that stands for the index goes through them too, since they are the index's and not the request's.
    """
    client.call("PUT", f"/{deployment.index}/_settings", _told(deployment))


def _told(deployment: Deployment) -> dict[str, str]:
    return dict(zip(SETTINGS, (deployment.ingest_pipeline, deployment.search_pipeline), strict=True))


def give_back(client: Client, index: str, before: Mapping[str, str | None]) -> None:
    """Tell an index again what it was told before; all other settings stay."""
    if before:
        client.call("PUT", f"/{index}/_settings", dict(before))


def made_for(deployment: Deployment, fusion: Fusion) -> list[tuple[str, str, Body]]:
    """Return both pipelines of an index: (kind, name, body)."""
    return [
        (INGEST, deployment.ingest_pipeline, ingest_pipeline(deployment)),
        (SEARCH, deployment.search_pipeline, search_pipeline(deployment, fusion)),
    ]


PAGE = 10
"""Hits that the template asks for unless it is told."""

# The filter stands in each leg, which every version takes.
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

    Its parameters are ``q``, the text; and if wanted ``size``, ``from``, ``filter``, one query of the server's own
    language, and ``ids``, true for ids without texts, which an index of one shard finds several times as fast. The
    index's default search pipeline fuses the legs and names the query tower, so one template serves each index that an
    alias comes to stand for.
    """
    values = {"page": PAGE, "shown": msgspec.json.encode(SHOWN).decode(), "window": fusion.window}
    return {"script": {"lang": "mustache", "source": _SOURCE % values}}
