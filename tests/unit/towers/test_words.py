"""How long a text is and how much of it the vocabulary lacks, counted by hand."""

from __future__ import annotations

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from hybrid_search.towers.coverage import Words
from hybrid_search.towers.tokenizer import TextTokenizer

TOKENS = ("[PAD]", "[UNK]", "the", "cat", "sat", "on", "mat", "##su", "##ma")


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    made = Tokenizer(models.WordPiece({token: id for id, token in enumerate(TOKENS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^\p{L}\p{N}]+"), "removed")
    return TextTokenizer(made)


def test_words_of_the_vocabulary_count_as_known(tokenizer: TextTokenizer) -> None:
    [figures] = Words.with_tokenizer(tokenizer, longest=100).measure(["The cat sat, on the MAT!"])
    assert figures == {"tokens": 6, "words": 6, "cut": False, "out_of_vocabulary": 0.0, "unknown": 0.0}


def test_a_word_that_is_cut_into_pieces_is_out_of_vocabulary_and_one_without_pieces_is_unknown_too(
    tokenizer: TextTokenizer,
) -> None:
    [figures] = Words.with_tokenizer(tokenizer, longest=100).measure(["the satsuma ж cat"])
    assert figures == {
        "tokens": 6,  # sat ##su ##ma are three
        "words": 4,
        "cut": False,
        "out_of_vocabulary": 0.5,
        "unknown": 0.25,
    }


def test_a_text_longer_than_the_tower_reads_is_cut(tokenizer: TextTokenizer) -> None:
    long, short = Words.with_tokenizer(tokenizer, longest=3).measure(["the cat sat on", "the cat sat"])
    assert (long["cut"], short["cut"]) == (True, False)


def test_an_empty_text_has_no_share(tokenizer: TextTokenizer) -> None:
    [figures] = Words.with_tokenizer(tokenizer, longest=3).measure(["..."])
    assert figures == {"tokens": 0, "words": 0, "cut": False}


def test_without_towers_words_are_what_white_space_parts() -> None:
    assert list(Words.of(None).measure(["a b  c", ""])) == [
        {"tokens": 3, "words": 3, "cut": False},
        {"tokens": 0, "words": 0, "cut": False},
    ]
