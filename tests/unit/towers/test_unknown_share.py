"""Which share of the words of texts the towers know nothing of."""

from __future__ import annotations

import pytest

from hybrid_search.towers.coverage import Words, unlike_words
from hybrid_search.towers.tokenizer import train_tokenizer

ENGLISH = ["the cat is on the roof", "the dog is in the house"] * 5


def test_of_an_unseen_script_all_words_are_unknown_and_of_the_own_texts_none() -> None:
    words = Words.with_tokenizer(train_tokenizer(ENGLISH, vocabulary=200, min_frequency=1), 64)
    assert unlike_words(words, ENGLISH)[1] == 0
    assert unlike_words(words, ["東京 京都"]) == (0, 1)
    assert unlike_words(words, ["the cat", "東京 京都 大学 猫"]) == pytest.approx((0, 4 / 6))
    assert unlike_words(words, ["", "!?"]) == (0, 0)


def test_without_towers_nothing_is_unknown() -> None:
    assert unlike_words(Words.of(None), ENGLISH) == (0, 0)
