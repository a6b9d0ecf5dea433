"""Converts texts to token ids: frequent words as a whole, rare ones in pieces. Training and serving share the file.

The file ``tokenizer.json`` is a plain one of the library ``tokenizers`` (NFKC, lower case, runs of letters and digits,
WordPiece), so that others that read such a file, such as ml-commons, split a text exactly as training did. The words
are those of BM25's folding analyzers (:mod:`hybrid_search.analysis`), before stemming.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from hybrid_search.errors import ConfigError, CorruptModel
from hybrid_search.mappings.folding import IGNORED, REPLACED
from hybrid_search.storage import disk_errors
from hybrid_search.streams import in_sized_batches
from hybrid_search.towers import beginnings
from hybrid_search.towers.beginnings import Alphabet, beginning

__all__ = ["PAD", "UNK", "TextTokenizer", "train_tokenizer"]

PAD, UNK = 0, 1
"""Reserved ids. No text contains the tokens ``[PAD]`` and ``[UNK]``, because brackets are never part of a word."""

_PAD_NAME, _UNK_NAME = "[PAD]", "[UNK]"
_RESTORE = "restore the checkpoint from a copy, or train again"
_IGNORED = "".join(f"{chr(first)}-{chr(last)}" for first, last in IGNORED)
# The pipeline's words in ASCII texts, found twice as fast.
_WORD = re.compile(r"[^\W_]+")
# The words of a printable ASCII text in lower case: this pipeline's, and those of BERT's, which keeps punctuation.
_PLAIN_WORDS = (re.compile("[0-9a-z]+"), re.compile(r"[0-9a-z]+|[!-/:-@\[-`{-~]"))
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
_WORDS_REMEMBERED = 1 << 14
_LONGEST_WORD = 100  # characters; a longer run is UNK, which also limits WordPiece's quadratic search
# The library's records of a text are some 50 times larger than its ids.
_ENCODED_AT_ONCE = 1024  # texts
_CHARACTERS_AT_ONCE = 1 << 20
_MOST_WORDS = 4_000_000  # distinct words counted at a time; beyond that, those seen once are dropped
_WORDS_FOR_PIECES = 200_000
_PIECE_SHARE, _MOST_PIECES, _MOST_CHARACTERS = 0.2, 6_000, 1_000


class TextTokenizer:
    """Converts texts to token ids. Immutable, so thread-safe."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        # The tokenizer of a pretrained trunk has another pipeline, about which less is known.
        self._alphabet = _alphabet(tokenizer) if isinstance(tokenizer.pre_tokenizer, pre_tokenizers.Split) else None
        self._plain_words = _plain_words(tokenizer)
        self._ids_of_word = _ids_of_word(tokenizer)

    @classmethod
    def from_json(cls, text: str, *, source: str = "tokenizer.json") -> Self:
        """Read a tokenizer from its JSON.

        :raises CorruptModel: if it is not a tokenizer with PAD at 0 and UNK at 1; names ``source``.
        """
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # tokenizers raises no narrower class
            raise CorruptModel(f"{source} is not a tokenizer ({error}); {_RESTORE}") from error
        if tokenizer.id_to_token(PAD) is None or tokenizer.id_to_token(UNK) is None:
            raise CorruptModel(f"{source} has no tokens 0 (PAD) and 1 (UNK); {_RESTORE}")
        return cls(tokenizer)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a ``tokenizer.json``.

        :raises StorageError: if the file can't be read.
        :raises CorruptModel: as :meth:`from_json`.
        """
        with disk_errors(f"reading {path}"):
            data = path.read_bytes()
        return cls.from_json(data.decode("utf-8", "replace"), source=str(path))

    def to_json(self) -> str:
        """Return the content of ``tokenizer.json`` in canonical form: equal tokenizers give equal text."""
        return json.dumps(json.loads(self._tokenizer.to_str()), ensure_ascii=False, sort_keys=True, indent=1)

    @property
    def hash(self) -> str:
        """SHA-256 of :meth:`to_json`, 64 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens; ids are 0 to this minus 1."""
        return int(self._tokenizer.get_vocab_size())

    def tokens(self) -> list[str]:
        """Return the tokens in order of their ids; a piece that continues a word starts with ``##``."""
        by_token: dict[str, int] = self._tokenizer.get_vocab()
        return sorted(by_token, key=by_token.__getitem__)

    def encode(self, texts: Sequence[str], max_tokens: int) -> list[NDArray[np.int32]]:
        """Convert texts to token ids.

        :param max_tokens: longer texts are cut.
        :return: an int32 array for each text, 0 to ``max_tokens`` long, without padding.
        """
        encoded: list[NDArray[np.int32]] = []
        parts = (self._part(text, max_tokens) for text in texts)
        for batch in in_sized_batches(parts, _ENCODED_AT_ONCE, _CHARACTERS_AT_ONCE, len):
            encodings = self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            encoded += [np.array(encoding.ids[:max_tokens], dtype=np.int32) for encoding in encodings]
        return encoded

    def encode_one(self, text: str, max_tokens: int) -> NDArray[np.int64]:
        """Convert a text to token ids: int64, 1 to ``max_tokens`` long; a text without tokens gives one PAD.

        The ids are those of :meth:`encode`; a short text in printable ASCII takes a tenth of the library's time.
        """
        if self._plain_words and len(text) <= beginnings.OFTEN * max_tokens and text.isascii() and text.isprintable():
            ids = [number for word in self._plain_words.findall(text.lower()) for number in self._ids_of_word(word)]
        else:
            # Not as a batch of one, for which the library wakes threads.
            ids = self._tokenizer.encode(self._part(text, max_tokens), add_special_tokens=False).ids
        return np.array(ids[:max_tokens] or [PAD], dtype=np.int64)

    def _part(self, text: str, max_tokens: int) -> str:
        """Return the part of a text that determines its first tokens, in a form that UTF-8 can encode."""
        text = _encodable(beginning(text, max_tokens))
        return (
            self._prefix(text, max_tokens) if self._alphabet is None else self._alphabet.deciding_part(text, max_tokens)
        )

    def _prefix(self, text: str, max_tokens: int) -> str:
        """Return a prefix that has its first tokens before its last word, which the cut may have changed."""
        size = max(beginnings.LARGE, 8 * max_tokens)
        while size < len(text):
            words = self._tokenizer.encode(text[:size], add_special_tokens=False).word_ids
            if words and words.index(words[-1]) >= max_tokens:
                return text[:size]
            size *= 4
        return text


def train_tokenizer(texts: Iterable[str], *, vocabulary: int, min_frequency: int) -> TextTokenizer:
    """Learn a vocabulary. Reads the texts once and keeps only word counts; the result is deterministic.

    :param vocabulary: maximum number of tokens, including PAD and UNK.
    :param min_frequency: rarer words are split into pieces.
    :raises ConfigError: if ``vocabulary`` leaves no room for words.
    """
    if vocabulary < 16:
        raise ConfigError(f"vocabulary is {vocabulary}; it must be at least 16")
    counts = _count_words(texts)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    pieces = _learn_pieces(ranked[:_WORDS_FOR_PIECES], min(_MOST_PIECES, int(vocabulary * _PIECE_SHARE)))
    tokens = dict.fromkeys([_PAD_NAME, _UNK_NAME])
    tokens.update(dict.fromkeys([w for w in ranked if counts[w] >= min_frequency][: vocabulary - 2 - len(pieces)]))
    tokens.update(dict.fromkeys(pieces))
    return TextTokenizer(_pipeline({token: number for number, token in enumerate(tokens)}))


def _pipeline(vocabulary: dict[str, int]) -> Tokenizer:
    model = models.WordPiece(vocabulary, unk_token=_UNK_NAME, max_input_chars_per_word=_LONGEST_WORD)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(f"[{_IGNORED}]+"), ""),
            normalizers.NFKC(),
            normalizers.Replace("\u0130", "i"),
            normalizers.Lowercase(),
            *(normalizers.Replace(other, letter) for other, letter in REPLACED.items()),
        ]
    )
    # Vowel signs are not in \p{L}; without them, words of many scripts would fall apart.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^\p{Alphabetic}\p{N}]+"), "removed")
    return tokenizer


def _alphabet(pipeline: Tokenizer) -> Alphabet:
    return Alphabet(pipeline.normalizer.normalize_str, pipeline.pre_tokenizer.pre_tokenize_str)


def _plain_words(pipeline: Tokenizer) -> re.Pattern[str] | None:
    """Return what finds a pipeline's words in a printable ASCII text in lower case; None if that is not known."""
    splits, unit = pipeline.pre_tokenizer, pipeline.model
    is_known = isinstance(splits, pre_tokenizers.Split | pre_tokenizers.BertPreTokenizer) and pipeline.normalizer
    changes = pipeline.get_added_tokens_decoder() or pipeline.truncation or pipeline.padding
    if not is_known or not isinstance(unit, models.WordPiece) or changes:
        return None
    probe = _PRINTABLE + "".join(f"A{character}" for character in _PRINTABLE)
    words = [word for word, _ in splits.pre_tokenize_str(pipeline.normalizer.normalize_str(probe))]
    return next((pattern for pattern in _PLAIN_WORDS if pattern.findall(probe.lower()) == words), None)


def _ids_of_word(pipeline: Tokenizer) -> Callable[[str], tuple[int, ...]]:
    """Return what gives the ids of a word; thread-safe."""
    model = pipeline.model

    @lru_cache(_WORDS_REMEMBERED)
    def ids_of_word(word: str) -> tuple[int, ...]:
        return tuple(token.id for token in model.tokenize(word))

    return ids_of_word


def _encodable(text: str) -> str:
    """Replace lone surrogates (from broken JSON escapes), which UTF-8 can't encode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _count_words(texts: Iterable[str]) -> Counter[str]:
    pipeline = _pipeline({_PAD_NAME: PAD, _UNK_NAME: UNK})
    normalise, split = pipeline.normalizer.normalize_str, pipeline.pre_tokenizer.pre_tokenize_str
    alphabet, counts = _alphabet(pipeline), Counter[str]()
    for text in texts:
        for part in alphabet.slices(_encodable(text)):
            normalised = normalise(part)
            plain = normalised.isascii()
            counts.update(_WORD.findall(normalised) if plain else (word for word, _ in split(normalised)))
        if len(counts) > _MOST_WORDS:
            counts = Counter({word: count for word, count in counts.items() if count > 1})
    return Counter({word: count for word, count in counts.items() if len(word) <= _LONGEST_WORD})


def _learn_pieces(words: list[str], size: int) -> list[str]:
    """Learn word pieces from distinct words, each counted once, because pieces are for rare and unseen words.

    Uses byte-pair merges, because the WordPiece trainer numbers characters, and therefore merges them, in an order that
    differs between processes. Each piece may begin a word or continue one.
    """
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    room = max(1, size // 2)
    counts = Counter(character for word in words for character in word)
    alphabet = sorted(counts, key=lambda c: (-counts[c], c))[: min(_MOST_CHARACTERS, room)]
    trainer = trainers.BpeTrainer(
        vocab_size=room,
        min_frequency=2,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    learner.train_from_iterator(words, trainer)
    pieces = sorted(learner.get_vocab(), key=lambda piece: (len(piece), piece))[:room]
    return [form for piece in pieces for form in (piece, f"##{piece}")]
