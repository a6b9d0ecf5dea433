"""A query of any length has the same answer on both engines, and none of them ends a batch of others."""

from __future__ import annotations

import logging
import math
import random
from collections import Counter

import numpy as np
import pytest
from asked import by_both, by_text

from hybrid_search.analysis import MOST_WORDS
from hybrid_search.errors import FilterError
from hybrid_search.filters import And, Or, Range, Term
from hybrid_search.protocols import Engine
from hybrid_search.settings.index import Fusion
from hybrid_search.types import Document

DRAW = random.Random(7)
WORDS = [f"w{number}" for number in range(5_000)]
TEXTS = [" ".join(DRAW.choices(WORDS[:200], k=30)) for _ in range(60)]
DOCUMENTS = [Document(f"d{n:02}", text, metadata={"year": n}) for n, text in enumerate(TEXTS)]
VECTORS = np.array([[1, n / 10] for n in range(len(TEXTS))], np.float32)


@pytest.fixture
def filled(engine: Engine) -> Engine:
    assert engine.add(DOCUMENTS, VECTORS) == []
    engine.commit()
    return engine


def bm25(query: str, k: int) -> list[tuple[str, float]]:
    """Rank by the formula: the oracle. Documents of 30 words are of a length that Lucene rounds to 28."""
    having = Counter(word for text in TEXTS for word in set(text.split()))
    scores = {}
    for document, text in zip(DOCUMENTS, TEXTS, strict=True):
        counts = Counter(text.split())
        score = 0.0
        for word, times in Counter(query.split()).items():
            idf = math.log(1 + (len(TEXTS) - having[word] + 0.5) / (having[word] + 0.5))
            score += times * idf * counts[word] / (counts[word] + 1.2 * (0.25 + 0.75 * 30 / 30))
        if score:
            scores[document.id] = score
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:k]


QUERIES = {
    "one word 3,000 times": "w3 " * 3_000,
    "1,024 words": " ".join(WORDS[n % 150] for n in range(1_024)),
    "50,000 words": " ".join(DRAW.choices(WORDS[:700], k=50_000)),
    "in capitals too": " ".join(DRAW.choices([*WORDS[:300], *map(str.upper, WORDS[:300])], k=2_000)),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_long_query_is_ranked_as_the_formula_says(filled: Engine, name: str) -> None:
    [found] = by_text(filled, [QUERIES[name]], 20)
    right = bm25(QUERIES[name].lower(), 20)
    assert list(found.ids) == [id for id, _ in right]
    assert found.scores == pytest.approx([score for _, score in right], rel=1e-5)


def test_of_too_many_different_words_the_first_count_and_that_is_said(
    filled: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    first, others = WORDS[100 : 100 + MOST_WORDS], [*WORDS[:100], *WORDS[2_000:4_000]]
    with caplog.at_level(logging.WARNING):
        [found] = by_text(filled, [" ".join([*first, *others])], 20)
    assert "has 2900 different words, of which the first 800 count; it begins 'w100 w101" in caplog.text
    right = bm25(" ".join(first), 20)
    assert list(found.ids) == [id for id, _ in right]
    assert found.scores == pytest.approx([score for _, score in right], rel=1e-5)


def test_no_long_query_ends_a_batch(filled: Engine) -> None:
    batch = ["w1", " ".join(WORDS), "w3 " * 3_000, "", "x" * 100_000, "\ufdfa" * 1_500, "w1"]
    vectors = np.repeat(VECTORS[:1], len(batch), axis=0)
    condition = And((Range("year", gte=5), Or(tuple(Term("year", year) for year in range(50)))))
    lexical = by_text(filled, batch, 5, condition)
    assert lexical[0] == lexical[-1] == by_text(filled, ["w1"], 5, condition)[0]
    assert lexical[1].ids
    assert [ranking.ids for ranking in lexical[3:6]] == [()] * 3
    hybrid = by_both(filled, batch, vectors, 5, fusion=Fusion(), filter=condition)
    assert all(len(hits) == 5 for hits in hybrid)
    assert [hit.id for hit in hybrid[0]] == [hit.id for hit in hybrid[-1]]
    with_legs = {leg for hits in hybrid[:3] for hit in hits for leg in hit.legs}
    assert with_legs == {"bm25", "knn"}


def test_a_filter_of_many_conditions_leaves_room_for_fewer_words_or_is_refused_as_what_it_is(filled: Engine) -> None:
    def whole(count: int) -> Or:
        return Or(tuple(Range("year", gte=2 + number % 40, lt=60 + number) for number in range(count)))

    long = " ".join(WORDS)
    assert by_text(filled, [long], 60, whole(200))[0].ids
    assert by_both(filled, [long], VECTORS[:1], 60, filter=whole(200))[0]
    if filled.capabilities.engine == "opensearch":
        with pytest.raises(FilterError, match="the filter has 400 conditions, and a server takes at most 229"):
            by_text(filled, ["w1"], 5, whole(400))
    else:
        assert by_text(filled, ["w1"], 60, whole(400))[0].ids
