"""Documents as an index keeps them, and back."""

from __future__ import annotations

from hybrid_search.engines.opensearch.records import from_source, to_source
from hybrid_search.types import Document


def test_a_document_comes_back_as_it_was_stored() -> None:
    document = Document("a", "text", "title", {"year": 1999, "tag": ("x", "y")})
    assert from_source({**to_source(document, None), "added": "2026-11-21T00:00:00Z"}) == document


def test_what_somebody_else_indexed_may_lack_a_text_or_a_title() -> None:
    assert from_source({"id": "a", "title": "only a title"}) == Document("a", "", "only a title")
    assert from_source({"id": "a", "text": "only a text"}) == Document("a", "only a text")
