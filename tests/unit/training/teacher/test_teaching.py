import numpy as np
import pytest

from hybrid_search.errors import DataError
from hybrid_search.protocols import Reporter
from hybrid_search.towers.tokenizer import train_tokenizer
from hybrid_search.training.data.arrays import Tokens
from hybrid_search.training.teacher.vector_store import VectorStore, write_vectors
from hybrid_search.training.teacher.vectors import Texts, default_cache, sentences_of, study

DOCUMENTS = ["The tide rises twice a day. Boats wait for it!", "Salt stays when sea water dries in the sun."]
QUERIES = ["when is high tide", "why is the sea salt"]


@pytest.fixture
def tokenizer():
    return train_tokenizer([*DOCUMENTS, *QUERIES], vocabulary=200, min_frequency=1)


def vectors_of(texts, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(len(texts), 6)).astype(np.float32)


def taught(tmp_path, tokenizer, *, texts=None, words=True, dimension=4):
    gathered = Texts.of(DOCUMENTS, QUERIES, seed=0)
    known = [*DOCUMENTS, *QUERIES, *gathered.sentences] if texts is None else texts
    known = known + ([token.removeprefix("##") for token in tokenizer.tokens()[2:]] if words else [])
    known = list(dict.fromkeys(known))
    write_vectors(tmp_path / "v.safetensors", known, vectors_of(known))
    file = str(tmp_path / "v.safetensors")
    return study(file, gathered, tokenizer, dimension=dimension, cache=None, reporter=Reporter())


def tokens_of(tokenizer):
    return Tokens(lambda texts: tokenizer.encode(texts, 32), lambda texts: tokenizer.encode(texts, 160))


def test_sentences_are_cut_after_their_marks_and_short_ones_are_left_out():
    assert list(sentences_of("A b c d. Too short! Is this one long enough? Yes")) == [
        "A b c d.",
        "Is this one long enough?",
    ]


def test_queries_words_and_every_other_sentence_go_to_the_query_tower(tmp_path, tokenizer):
    alignment = taught(tmp_path, tokenizer).alignment(tokenizer, tokens_of(tokenizer))
    words = {token.removeprefix("##") for token in tokenizer.tokens()[2:]}
    sentences = 3
    assert alignment.queries == len(QUERIES) + len(words) + 2
    assert len(alignment.texts) == alignment.queries + len(DOCUMENTS) + sentences - 2


def test_targets_are_of_unit_length(tmp_path, tokenizer):
    alignment = taught(tmp_path, tokenizer).alignment(tokenizer, tokens_of(tokenizer))
    assert np.allclose(np.linalg.norm(alignment.targets.astype(np.float32), axis=1), 1, atol=2e-3)


def test_texts_that_the_file_lacks_are_left_out(tmp_path, tokenizer):
    lessons = taught(tmp_path, tokenizer, texts=DOCUMENTS[:1], words=False)
    alignment = lessons.alignment(tokenizer, tokens_of(tokenizer))
    assert (alignment.queries, len(alignment.texts)) == (0, 1)


def test_a_token_gets_its_words_vector_on_the_same_axes_as_the_targets(tmp_path, tokenizer):
    vectors = taught(tmp_path, tokenizer, dimension=6).word_vectors(tokenizer, np.ones(200, np.int64), seed=0)
    store = VectorStore(tmp_path / "v.safetensors")
    tide, sea = (tokenizer.tokens().index(word) for word in ("tide", "sea"))
    teachers, _ = store.get(["tide", "sea"])
    # All six axes are kept, so inner products survive the turn.
    assert vectors.vectors[tide] @ vectors.vectors[sea] == pytest.approx(teachers[0] @ teachers[1], abs=1e-2)
    assert not vectors.vectors[:2].any()


def test_a_file_without_words_says_what_to_do(tmp_path, tokenizer):
    with pytest.raises(DataError, match=r"no vectors of single words; write them too, .*=cbow"):
        taught(tmp_path, tokenizer, words=False).word_vectors(tokenizer, np.ones(200, np.int64), seed=0)


def test_a_file_of_other_texts_is_refused(tmp_path, tokenizer):
    with pytest.raises(DataError, match="none of this data's texts"):
        taught(tmp_path, tokenizer, texts=["something else"])


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HYBRID_SEARCH_CACHE", str(tmp_path))
    assert default_cache() == tmp_path / "teachers"
