"""The stored search template: a hybrid search by text with one parameter. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from hybrid_search.config import Fusion
from hybrid_search.engines.opensearch.showing import SHOWN

__all__ = ["PAGE", "template_script"]

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
