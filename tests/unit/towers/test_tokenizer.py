"""The tokenizer: what is a word, what is kept whole, what no text can reach."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_search.errors import ConfigError, CorruptModel
from hybrid_search.towers.tokenizer import PAD, UNK, TextTokenizer, train_tokenizer

CORPUS = ["running runner runs"] * 5 + ["jumping jumper jumps"] * 5 + ["Walking, walker & walks!"] * 5 + ["pad unk"] * 5


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return train_tokenizer(CORPUS, vocabulary=120, min_frequency=3)


def words(tokenizer: TextTokenizer, text: str, max_tokens: int = 100) -> list[str]:
    tokens = tokenizer.tokens()
    return [tokens[number] for number in tokenizer.encode([text], max_tokens)[0]]


def test_pad_and_unk_have_the_first_two_ids(tokenizer: TextTokenizer) -> None:
    assert tokenizer.tokens()[:2] == ["[PAD]", "[UNK]"]
    assert (PAD, UNK) == (0, 1)


def test_words_follow_in_the_order_of_their_frequency_then_name() -> None:
    tokenizer = train_tokenizer(["b b b a a a c c c c"], vocabulary=40, min_frequency=1)
    assert tokenizer.tokens()[2:5] == ["c", "a", "b"]


def test_the_names_of_the_reserved_tokens_are_ordinary_words_in_a_text(tokenizer: TextTokenizer) -> None:
    assert words(tokenizer, "[PAD] [UNK]") == ["pad", "unk"]


def test_words_are_runs_of_letters_and_digits_in_lower_case(tokenizer: TextTokenizer) -> None:
    assert words(tokenizer, "RUNNING--jumping_walks") == ["running", "jumping", "walks"]


def test_forms_that_unicode_holds_for_compatible_are_one_word(tokenizer: TextTokenizer) -> None:
    assert words(tokenizer, "Ｊｕｍｐｓ") == ["jumps"]


def test_a_rare_word_is_cut_into_pieces(tokenizer: TextTokenizer) -> None:
    pieces = words(tokenizer, "rumping")
    assert len(pieces) > 1
    assert "".join(piece.removeprefix("##") for piece in pieces) == "rumping"


def test_an_unseen_script_is_unknown_and_an_emoji_is_nothing(tokenizer: TextTokenizer) -> None:
    assert words(tokenizer, "жизнь") == ["[UNK]"]
    assert words(tokenizer, "😀 👩‍👩‍👧") == []


def test_a_word_of_more_than_a_hundred_letters_is_unknown(tokenizer: TextTokenizer) -> None:
    assert words(tokenizer, "r" * 101) == ["[UNK]"]


def test_a_long_text_is_cut(tokenizer: TextTokenizer) -> None:
    assert words(tokenizer, "jumps runs walks", max_tokens=2) == ["jumps", "runs"]


def test_a_lone_surrogate_does_no_harm(tokenizer: TextTokenizer) -> None:
    assert words(tokenizer, "runs \ud83d jumps") == ["runs", "jumps"]


def test_texts_give_int32_arrays_in_their_order(tokenizer: TextTokenizer) -> None:
    arrays = tokenizer.encode(["runs", "", "jumps runs"], 10)
    assert [len(array) for array in arrays] == [1, 0, 2]
    assert all(array.dtype == np.int32 for array in arrays)


def test_the_same_texts_give_the_same_file() -> None:
    first = train_tokenizer(CORPUS, vocabulary=60, min_frequency=2)
    second = train_tokenizer(iter(reversed(CORPUS)), vocabulary=60, min_frequency=2)
    assert first.to_json() == second.to_json()
    assert first.hash == second.hash


def test_another_process_learns_the_same_file() -> None:
    code = (
        "from hybrid_search.towers.tokenizer import train_tokenizer\n"
        "texts = [f'observed {w} day{n} of {w}ing' for n in range(90) for w in ('tide', 'bread', 'glacier')]\n"
        "print(train_tokenizer(texts, vocabulary=300, min_frequency=3).hash)"
    )
    hashes = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(3)}
    assert len(hashes) == 1


def test_the_vocabulary_keeps_to_its_size() -> None:
    many = [" ".join(f"word{number}x{number * 7}" for number in range(500))]
    assert train_tokenizer(many, vocabulary=100, min_frequency=1).vocabulary_size <= 100


def test_a_file_gives_back_the_tokenizer(tokenizer: TextTokenizer) -> None:
    again = TextTokenizer.from_json(tokenizer.to_json())
    assert again.hash == tokenizer.hash
    assert words(again, "jumper rumping") == words(tokenizer, "jumper rumping")


def test_an_empty_corpus_gives_a_tokenizer_that_knows_nothing() -> None:
    tokenizer = train_tokenizer([], vocabulary=100, min_frequency=1)
    assert tokenizer.vocabulary_size == 2
    assert words(tokenizer, "anything") == ["[UNK]"]


def test_a_vocabulary_without_room_for_words_is_refused() -> None:
    with pytest.raises(ConfigError, match="vocabulary is 4; it must be at least 16"):
        train_tokenizer(CORPUS, vocabulary=4, min_frequency=1)


def test_a_file_that_is_no_tokenizer_is_named() -> None:
    with pytest.raises(CorruptModel, match=r"here\.json is not a tokenizer"):
        TextTokenizer.from_json("{}", source="here.json")


@given(text=st.text(max_size=60))
def test_no_text_reaches_the_padding_id(tokenizer: TextTokenizer, text: str) -> None:
    assert PAD not in tokenizer.encode([text], 100)[0]
