"""Labels out of logs of use: clicks, corrected for where a document stood, become grades.

The position-based model of clicks (examination hypothesis; Craswell et al. 2008): a document at rank r is looked at
with probability r^-eta, and clicked if it is looked at and relevant. So a click at rank r stands for r^eta people, and
the sum of these weights, over the number to whom the document was shown, estimates how many of them find it relevant,
whatever its ranks were (inverse propensity weighting; Joachims, Swaminathan and Schnabel 2017). Weights are capped, as
a single click far down would outweigh all others.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hybrid_search.loaders.use_log import Click, Search, UseLog
from hybrid_search.types import Judgement, Query, normalise_text, text_hash

__all__ = ["LabelRules", "Labels", "labels_of"]

T = TypeVar("T", Search, Click)


@dataclass(frozen=True, slots=True)
class LabelRules:
    """How clicks become grades.

    :ivar min_clicks: fewest people who clicked a document; fewer are chance, or one of them alone.
    :ivar eta: how fast attention falls with the rank: r^-eta. 0 for clicks as they are.
    :ivar cap: largest weight of a click.
    :ivar levels: largest grade.
    """

    min_clicks: int = 2
    eta: float = 1.0
    cap: float = 10.0
    levels: int = 3


@dataclass(frozen=True, slots=True)
class Labels:
    """Queries and their judgements.

    :ivar clicks: people who clicked a document for a query, each counted once.
    :ivar too_few: documents that fewer people clicked than were asked for.
    """

    queries: Sequence[Query]
    judgements: Sequence[Judgement]
    searches: int
    clicks: int
    too_few: int


def labels_of(log: UseLog, rules: LabelRules | None = None) -> Labels:
    """Turn a log into judged queries; texts that differ in case and white space alone are one query.

    The grade of a document is its estimated relevance as a share of that of the query's best, in ``levels`` steps: with
    three, above two thirds of it is 3. What people judged replaces what was clicked. Each person counts once for a
    query and a document, however often they came back.
    """
    rules = rules or LabelRules()
    texts: dict[str, str] = {}
    searches, clicks = _by_text(log.searches, texts), _by_text(log.clicks, texts)
    judged: dict[str, dict[str, int]] = defaultdict(dict)
    for one in log.judgements:
        key = normalise_text(one.query_id)
        texts.setdefault(key, one.query_id)
        judged[key][one.document_id] = one.grade
    queries, judgements, clicked, few = list[Query](), list[Judgement](), 0, 0
    for key in sorted(clicks.keys() | judged.keys()):
        estimates, counted, lacking = _estimates(searches.get(key, []), clicks.get(key, []), rules)
        clicked, few = clicked + counted, few + lacking
        grades = _grades(estimates, rules.levels) | judged.get(key, {})
        if grades:
            id = f"q-{text_hash(texts[key])}"
            queries.append(Query(id, texts[key]))
            judgements += [Judgement(id, document, grade) for document, grade in sorted(grades.items())]
    return Labels(queries, judgements, len(log.searches), clicked, few)


def _by_text(ones: Iterable[T], texts: dict[str, str]) -> dict[str, list[T]]:
    groups: dict[str, list[T]] = defaultdict(list)
    for one in ones:
        key = normalise_text(one.query)
        texts.setdefault(key, one.query)
        groups[key].append(one)
    return groups


def _estimates(
    searches: Sequence[Search], clicks: Sequence[Click], rules: LabelRules
) -> tuple[dict[str, float], int, int]:
    """Return document -> estimated relevance, the number of clicks, and that of documents clicked too rarely."""
    people = {search.client for search in searches} | {click.client for click in clicks}
    shown_to: dict[str, set[str]] = defaultdict(set)
    for search in searches:
        for document in search.shown:
            shown_to[document].add(search.client)
    weights: dict[str, dict[str, float]] = defaultdict(dict)
    for click in clicks:
        weight = min(rules.cap, float(click.rank) ** rules.eta) if click.rank else 1.0
        known = weights[click.document].get(click.client, math.inf)
        weights[click.document][click.client] = min(known, weight)
    found = {
        document: sum(by_client.values()) / len(shown_to[document] | by_client.keys() if shown_to else people)
        for document, by_client in weights.items()
        if len(by_client) >= rules.min_clicks
    }
    return found, sum(map(len, weights.values())), len(weights) - len(found)


def _grades(estimates: dict[str, float], levels: int) -> dict[str, int]:
    best = max(estimates.values(), default=0.0)
    return {document: math.ceil(levels * value / best - 1e-9) for document, value in estimates.items()}
