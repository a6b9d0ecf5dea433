"""Look a server over, with the model that its indexes should fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hybrid_search.errors import UsageError
from hybrid_search.workflows.locations import is_on_server

if TYPE_CHECKING:
    from hybrid_search.engines.opensearch.doctor import Diagnosis

__all__ = ["diagnose"]


def diagnose(location: str, *, model: Path | None = None) -> Diagnosis:
    """Say what a server can do, and what is wrong with it and with the indexes on it.

    :param location: ``opensearch://host:9200``, or with an index or alias.
    :param model: a checkpoint that the indexes' vectors should have been made with.
    :raises UsageError: for a folder.
    :raises SearchIndexError: if the server can't be reached.
    :raises UnsupportedCapability: if it is no OpenSearch, or one that is too old.
    """
    if not is_on_server(location):
        raise UsageError(f"{location}: not a server; an index in a folder is checked by: hybrid-search info --verify")
    from hybrid_search.engines.opensearch import doctor

    facts = None
    if model is not None:
        from hybrid_search.towers.model_card import read_model_card

        card = read_model_card(model)
        facts = doctor.ModelFacts(str(model), card.fingerprint, card.tower.dimension)
    return doctor.diagnose(location, facts)
