import math

import numpy as np
import pytest
from asked import by_text

from hybrid_search.engines.embedded import EmbeddedEngine
from hybrid_search.settings.index import Bm25, IndexSettings
from hybrid_search.training.data.rows import Rows
from hybrid_search.training.loop.batches import LexicalScores
from hybrid_search.types import Document

# Tokens from 2 on are terms; 1 is UNK. Lengths 4, 2, 3: average 3.
DOCUMENTS = [[2, 2, 3, 4], [3, 5], [4, 1, 6]]


def rows(lists):
    return [np.array(row, dtype=np.int32) for row in lists]


def test_a_score_is_the_one_by_hand() -> None:
    scores = LexicalScores(Rows.of(DOCUMENTS), Bm25(k1=1.2, b=0.75)).of(rows([[2, 3]]), rows(DOCUMENTS))
    # Token 2 is in one document of three, token 3 in two.
    rare, common = math.log(1 + 2.5 / 1.5), math.log(1 + 1.5 / 2.5)
    first = rare * 2 / (2 + 1.2 * (0.25 + 0.75 * 4 / 3)) + common * 1 / (1 + 1.2 * (0.25 + 0.75 * 4 / 3))
    second = common * 1 / (1 + 1.2 * (0.25 + 0.75 * 2 / 3))
    assert scores.tolist() == [[pytest.approx(first, rel=1e-6), pytest.approx(second, rel=1e-6), 0.0]]


def test_repeated_query_terms_count_each_time_and_unknown_ones_not_at_all() -> None:
    scores = LexicalScores(Rows.of(DOCUMENTS)).of(rows([[3], [3, 3], [1, 0], []]), rows(DOCUMENTS))
    assert scores[1].tolist() == pytest.approx((2 * scores[0]).tolist())
    assert not scores[2:].any()


def test_a_term_that_no_training_document_has_is_rare() -> None:
    scores = LexicalScores(Rows.of(DOCUMENTS)).of(rows([[90]]), rows([[90, 2, 3]]))
    # log(1 + 3.5 / .5) for a document of average length, once: f / (f + k1) = 1 / 2.2.
    assert scores.item() == pytest.approx(math.log(8) / 2.2)


def test_scores_agree_with_the_index_where_terms_are_the_same(tmp_path) -> None:
    random = np.random.default_rng(0)
    texts = [random.integers(2, 40, random.integers(3, 30)).tolist() for _ in range(30)]
    queries = [random.integers(2, 40, 4).tolist() for _ in range(5)]
    ours = LexicalScores(Rows.of(texts)).of(rows(queries), rows(texts))
    with EmbeddedEngine.create(tmp_path / "index", IndexSettings(analyzer="plain")) as engine:
        engine.add([Document(str(i), " ".join(f"t{t}" for t in text)) for i, text in enumerate(texts)], None)
        engine.commit()
        rankings = by_text(engine, [" ".join(f"t{t}" for t in query) for query in queries], 30)
        for scores, ranking in zip(ours, rankings, strict=True):
            theirs = dict(zip(ranking.ids, ranking.scores, strict=True))
            assert {int(i) for i in theirs} == set(np.flatnonzero(scores).tolist())
            assert all(scores[int(i)] == pytest.approx(score, rel=1e-4) for i, score in theirs.items())
