"""Searches of a text typed into a dashboard's query bar, for towers that are deployed in the cluster. Layer 2, pure.

Dashboards puts what is typed into a search's query as a ``query_string`` clause, and nowhere else. That clause is the
BM25 leg of a hybrid query here; a request processor of the search's own pipeline reads the text out of it, has the
query tower encode it, and writes the vector into the k-NN leg. It also takes away a ``min_score`` that nothing reaches,
so that a search whose text was not encoded, because nothing was typed or the tower is gone, finds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mappings

__all__ = ["DEFAULT_FIELD", "Typed"]

DEFAULT_FIELD = {"index.query.default_field": "searchable"}
"""The setting of the index with which a typed word is looked for where ``match`` looks for it, not in every field."""

Processors = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Typed:
    """What it takes to answer a typed text.

    :ivar model: the query tower in the cluster.
    :ivar dimension: of its vectors.
    :ivar window: documents that each leg contributes.
    :ivar fusions: ranking (``bm25``, ``hybrid``, ``knn``) -> the part of a search pipeline that fuses; a leg alone has
        all of the weight.
    """

    model: str
    dimension: int
    window: int
    fusions: Mapping[str, Processors]

    def bodies(self) -> dict[str, dict[str, Any]]:
        """Return the body of a search for each ranking."""
        return {
            name: mappings.render(
                "dashboards/typed_search",
                model=self.model,
                # Takes the place of the text's own until the processor has run; a zero vector would be refused.
                vector=[1.0] * self.dimension,
                window=self.window,
                fusion=fusion["phase_results_processors"],
            )
            for name, fusion in self.fusions.items()
        }
