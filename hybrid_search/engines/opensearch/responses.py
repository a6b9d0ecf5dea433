"""Reading a server's answers. Pure: JSON in, our records or an error out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_search.engines.opensearch.client import failure, reason_of
from hybrid_search.errors import SearchIndexError
from hybrid_search.types import Ranking, by_score_then_id

__all__ = ["checked", "hits_of", "leg_of", "pairs_of", "ranking_of", "searches"]

_SENTINEL = -1e9
"""A hybrid query that no pipeline took care of answers with scores far below this one."""


def searches(answer: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    """Return the answers of an ``_msearch``, each checked.

    :raises SearchIndexError: if one of them failed, wholly or on a shard.
    """
    return [checked(one, where) for one in answer["responses"]]


def checked(answer: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """Return a search's answer if all of it is there.

    :raises SearchIndexError: if the search failed, timed out, or failed on a shard.
    """
    if "error" in answer:
        raise failure(int(answer.get("status", 500)), answer, where)
    shards = answer["_shards"]
    if shards["failed"]:
        kind, reason = reason_of((shards.get("failures") or [{}])[0].get("reason", {}))
        raise SearchIndexError(
            f"{where}: {shards['failed']} of {shards['total']} shards failed ({kind}: {reason}); "
            f"hits would be missing, so there is no answer"
        )
    if answer.get("timed_out"):
        raise SearchIndexError(f"{where}: the search timed out on the server, so hits would be missing")
    return answer


def hits_of(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a search's hits; an answer cut to the parts we ask for has no place for none."""
    hits: list[Mapping[str, Any]] = answer.get("hits", {}).get("hits", [])
    return hits


def pairs_of(answer: Mapping[str, Any], where: str) -> list[tuple[str, float]]:
    """Return (id, score) of a search's hits, in the ranking order.

    :raises SearchIndexError: if the scores are those of a hybrid query that was not fused.
    """
    return by_score_then_id(_pairs(answer, where))


def ranking_of(answer: Mapping[str, Any], k: int, where: str) -> Ranking:
    """Return a search's best k hits.

    :raises SearchIndexError: as :func:`pairs_of`.
    """
    return _ranking(pairs_of(answer, where)[:k])


def leg_of(answer: Mapping[str, Any], where: str) -> Ranking:
    """Return a leg in the order in which a fusion sees it: the server does not order ties, and RRF counts places.

    :raises SearchIndexError: as :func:`pairs_of`.
    """
    return _ranking(_pairs(answer, where))


def _pairs(answer: Mapping[str, Any], where: str) -> list[tuple[str, float]]:
    pairs = [(hit["fields"]["id"][0], float(hit["_score"])) for hit in hits_of(answer)]
    if any(score < _SENTINEL for _, score in pairs) or len({id for id, _ in pairs}) < len(pairs):
        raise SearchIndexError(f"{where}: the server did not fuse the legs; is the plugin opensearch-neural-search on?")
    return pairs


def _ranking(pairs: Sequence[tuple[str, float]]) -> Ranking:
    return Ranking(tuple([id for id, _ in pairs]), tuple([score for _, score in pairs]))
