"""Cutting a text before it is tokenized never changes a token, whatever the text is made of."""

from __future__ import annotations

import json
import re
import tracemalloc
import unicodedata
from importlib.resources import files
from itertools import chain

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hybrid_search.towers import beginnings
from hybrid_search.towers.beginnings import beginning
from hybrid_search.towers.tokenizer import TextTokenizer, _alphabet, _encodable, _pipeline, train_tokenizer

# Letters of many scripts, what composes and what does not, what normalises to several characters, to a space with a
# mark, to a fraction; marks, separators, runs; what is a letter in one version of Unicode and unassigned in another.
ODD = [
    "word", "a", "Σ", "ΑΣ", "İ", "ß", "ﬁ", "½", "⑴", "ª", "ﹰ", "ﾞ", "ͺ", "ｶﾞ", "한", "ㅎ", "\u1112\u1161\u11ab", "é",
    "e\u0301", "q\u0323\u0307", "\u0301", "\u0345", "ไทย", "ระบบ", "देव", "نص", "搜索", "検索", "，", "。", ".", "'",
    "’", "-", "_", "·", ":", "…", " ", "\n", "\t", "\u00a0", "\u3000", "\u200b", "\u00ad", "🎉", "\u200d",
    "\u200d\u0301", "i\u0307", "\u0307", "\u0e49", "\u09be", "Ⓐ", "ς", "\U0001e030",
    "\U00011f04", "\U000323af", "\ud800", "\x00", "x" * 99, "x" * 100, "x" * 101, "acgt" * 80, "." * 300, "。" * 700,
    "ж" * 900, "é" * 600, "한" * 500, "e\u0301" * 500, "\u1112\u1161\u11ab" * 400, "½" * 900, "9" * 1_200, "🎉" * 900,
    "ไทย" * 300,
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(ODD), st.characters(), st.text(max_size=12)), max_size=60).map("".join)


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return train_tokenizer(["word words a x acgt query search tokens été ж"] * 3, vocabulary=120, min_frequency=1)


@pytest.fixture(scope="module")
def pretrained() -> TextTokenizer:
    """One of another pipeline: that of the model in the package."""
    return TextTokenizer.from_file(files("hybrid_search") / "shipped" / "en" / "tokenizer.json")


def whole(tokenizer: TextTokenizer, text: str, count: int) -> list[int]:
    """What the tokenizer gives without any cut."""
    return tokenizer._tokenizer.encode(_encodable(text), add_special_tokens=False).ids[:count]


@pytest.fixture(scope="module", autouse=True)
def eager() -> object:
    """Look for a cut in short texts too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beginnings, "OFTEN", 0)
        patch.setattr(beginnings, "LARGE", 0)
        patch.setattr(beginnings, "_SLICE", 40)
        yield patch


@settings(max_examples=400, deadline=None)
@given(text=TEXTS, count=st.integers(1, 12))
@example(text="ab\u0301 " * 9, count=3)
@example(text="word" + "\u0301" * 900 + "word", count=2)
@example(text="x½" + "x" * 900 + "½x", count=3)
def test_the_first_tokens_are_those_of_the_whole_text(tokenizer: TextTokenizer, text: str, count: int) -> None:
    wanted = whole(tokenizer, text, count)
    assert tokenizer.encode([text], count)[0].tolist() == wanted
    assert tokenizer.encode_one(text, count).tolist() == (wanted or [0])


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, count=st.integers(1, 12))
@example(text="搜索" * 40 + "\u0301x", count=9)
def test_the_first_tokens_of_a_pretrained_pipeline_are_those_of_the_whole_text(
    pretrained: TextTokenizer, text: str, count: int
) -> None:
    assert pretrained.encode([text], count)[0].tolist() == whole(pretrained, text, count)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_slices_have_the_words_of_the_whole_text(text: str) -> None:
    pipeline = _pipeline({"[PAD]": 0, "[UNK]": 1})

    def words(parts: list[str]) -> list[str]:
        normalised = map(pipeline.normalizer.normalize_str, parts)
        found = chain.from_iterable(map(pipeline.pre_tokenizer.pre_tokenize_str, normalised))
        return [word for word, _ in found if len(word) <= 100]

    text = _encodable(text)
    assert words(list(_alphabet(pipeline).slices(text))) == words([text])


@settings(max_examples=100, deadline=None)
@given(text=TEXTS, count=st.integers(1, 12))
def test_a_cut_at_spaces_alone_keeps_so_many_words_and_their_text(text: str, count: int) -> None:
    part = beginning(text, count, spaces_only=True)
    assert text.startswith(part)
    assert part == text or len(part.split()) == count


def test_every_letter_that_counts_as_a_token_is_one_whatever_normalises_it(tokenizer: TextTokenizer) -> None:
    sure = [c for c in map(chr, range(0x10000)) if re.match(f"[{beginnings._LETTERS}]", c)]
    assert len(sure) > 30_000
    ids = tokenizer._tokenizer.encode_batch_fast(sure, add_special_tokens=False)
    assert [c for c, encoding in zip(sure, ids, strict=True) if not encoding.ids] == []
    # Each also has a token beside a mark, which composes with some of them.
    marked = tokenizer._tokenizer.encode_batch_fast([f"{c}\u0301" for c in sure], add_special_tokens=False)
    assert [c for c, encoding in zip(sure, marked, strict=True) if not encoding.ids] == []


def test_what_parts_words_parts_them_for_the_tokenizer_too(tokenizer: TextTokenizer) -> None:
    parting = [c for c in map(chr, range(0x10000)) if re.match(f"[{beginnings._PARTING}]", c)]
    normal = tokenizer._tokenizer.normalizer.normalize_str
    for c in parting:
        assert normal(f"word{c}") == f"word{normal(c)}", ascii(c)
        assert not any(each.isalnum() for each in unicodedata.normalize("NFKC", c)), ascii(c)


KINDS = {
    "words": "".join(f"word{number} and " for number in range(160_000)),
    "without a space": "搜索引擎使用倒排索引，" * 60_000,
    "letters": "acgt" * 500_000,
    "dots": "." * 2_000_000,
    "marks that do not compose": "ระบบค้นหา" * 80_000,
    "marks that compose": "e\u0301" * 650_000,
    "symbols": "🎉" * 500_000,
}


@pytest.mark.parametrize("kind", KINDS)
def test_of_two_megabytes_few_kilobytes_are_tokenized(
    tokenizer: TextTokenizer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beginnings, "OFTEN", 8)
    monkeypatch.setattr(beginnings, "LARGE", 1 << 14)
    assert len(KINDS[kind].encode()) > 1_900_000
    assert len(tokenizer._part(KINDS[kind], 160).encode()) < 50_000


@pytest.mark.parametrize("kind", ["words", "without a space", "dots"])
def test_of_two_megabytes_a_pretrained_pipeline_is_given_few_kilobytes(
    pretrained: TextTokenizer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beginnings, "OFTEN", 8)
    monkeypatch.setattr(beginnings, "LARGE", 1 << 14)
    assert len(pretrained._part(KINDS[kind], 160).encode()) < 50_000


def test_encoding_holds_the_text_and_little_more(tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginnings, "OFTEN", 8)
    tracemalloc.start()
    try:
        (ids,) = tokenizer.encode([KINDS["words"]], 160)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ids.dtype == np.int32
    assert len(ids) == 160
    assert peak < 1_000_000  # of Python's own; the tokenizer's is held by the test above


ASCII = st.text(st.sampled_from([chr(code) for code in range(128)]), max_size=60) | st.lists(
    st.sampled_from(["word", "Search", "queries", "ac", "x" * 101, " ", "-", "_", "!?", "'s", "42", "\t", "\x7f"])
).map("".join)


@settings(max_examples=300, deadline=None)
@given(text=ASCII, count=st.integers(1, 40))
@example(text="".join(map(chr, range(0x20, 0x7F))) * 2, count=200)
def test_a_short_ascii_text_has_the_tokens_that_the_library_gives(
    tokenizer: TextTokenizer, pretrained: TextTokenizer, text: str, count: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beginnings, "OFTEN", 1_000)
        for one in (tokenizer, pretrained):
            assert one._plain_words is not None
            assert one.encode_one(text, count).tolist() == (whole(one, text, count) or [0])


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("normalizer", {"type": "NFC"}),
        ("pre_tokenizer", {"type": "WhitespaceSplit"}),
        ("truncation", {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}),
        ("model", {"type": "WordLevel", "vocab": {"[PAD]": 0, "[UNK]": 1}, "unk_token": "[UNK]"}),
    ],
)
def test_a_pipeline_of_other_words_is_left_to_the_library(
    pretrained: TextTokenizer, part: str, other: dict[str, object]
) -> None:
    changed = TextTokenizer.from_json(json.dumps({**json.loads(pretrained.to_json()), part: other}))
    assert changed._plain_words is None
    assert changed.encode_one("One TWO, three", 9).tolist() == whole(changed, "One TWO, three", 9)
